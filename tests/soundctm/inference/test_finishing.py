"""Clips shorter than a model's own begin with their sound; silent ones are named and not written; honest pictures."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

from soundctm.errors import UserError
from soundctm.inference.finishing import (
    FinishingOptions,
    at_loudness,
    check_finishing,
    cut_at_onset,
    faded,
    finish,
    is_nearly_silent,
    loudness,
    onset,
)
from soundctm.mels import RANGE_DB, mel_db

RATE = 16_000


def bark(at: float, seconds: float = 2.56, peak: float = 0.5) -> np.ndarray:
    """Silence but for a tone of 0.3 s that begins `at` seconds, over a faint hiss."""
    audio = 1e-5 * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    start = round(at * RATE)
    audio[start : start + 4800] += peak * np.sin(np.arange(4800) / 3)[: len(audio) - start]
    return audio.astype(np.float32)


def test_a_short_clip_holds_the_sound():
    for at in (0.0, 0.4, 1.2, 1.5):
        clip, rate = finish(bark(at), RATE, 1.0, None)
        assert len(clip) == 16_000 and rate == RATE
        assert np.abs(clip[:400]).max() > 0.4, "it begins with the bark"
    clip, _ = finish(bark(2.2), RATE, 1.0, None)
    assert len(clip) == 16_000 and np.array_equal(clip, bark(2.2)[-16_000:]), "so much is left, and no more"


def test_the_lead_in_is_short_and_the_rest_is_untouched():
    audio = bark(1.2)
    assert abs(onset(audio, RATE) - 19_200) <= 80
    clip = cut_at_onset(audio, 16_000, RATE)
    start = 19_200 - 160
    assert np.array_equal(clip, audio[start : start + 16_000])
    assert np.array_equal(cut_at_onset(audio, 50_000, RATE), audio)
    assert len(cut_at_onset(np.zeros(500), 100, RATE)) == 100


def test_the_rate_is_changed_after_the_cut():
    clip, rate = finish(bark(1.2), RATE, 1.0, 22_254)
    assert rate == 22_254 and len(clip) == 22_254 and np.abs(clip[:600]).max() > 0.4


def test_what_is_nearly_silent():
    assert is_nearly_silent(bark(1.0, peak=6e-5)) and is_nearly_silent(np.zeros(0))
    assert not is_nearly_silent(bark(1.0, peak=0.01))


def test_a_quiet_clip_is_not_drawn_as_a_loud_one():
    loud, quiet = mel_db(bark(1.0), RATE), mel_db(bark(1.0, peak=6e-5), RATE)
    assert loud.max() == pytest.approx(0.0, abs=1e-6)
    assert -60 < quiet.max() < -50  # a peak of -84 dB, drawn below -30 dB
    assert mel_db(np.zeros(16_000), RATE).max() == pytest.approx(-RANGE_DB, abs=1e-3)


def test_silent_clips_are_named_and_not_written_but_the_others_are(infer, tmp_path, pipeline, monkeypatch, capsys):
    plain = type(pipeline).__call__

    def sometimes_silent(self, prompts, *steps, **settings):
        made = plain(self, prompts, *steps, **settings)
        made.audios[[prompt == "rain" for prompt in prompts]] *= 6e-5
        return made

    monkeypatch.setattr(type(pipeline), "__call__", sometimes_silent)
    given = ["--prompt", "rain", "--prompt", "wind", "--save_spectrograms"]
    assert infer(*given) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 2 clips were not written: rain.wav ('rain') is nearly silent" in said and "--seed" in said
    out = tmp_path / "out"
    assert sorted(path.name for path in out.glob("*.*g")) + sorted(path.name for path in out.glob("*.wav")) == [
        "wind.png",
        "wind.wav",
    ]
    with (out / "manifest.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["wind.wav"]
    assert infer(*given) == 2, "it is not taken for done"
    assert infer(*given, "--keep_silent") == 0
    assert np.abs(soundfile.read(out / "rain.wav")[0]).max() < 1e-3


def test_clips_in_folders_are_written_there(infer, tmp_path):
    table = tmp_path / "captions.csv"
    table.write_text("file_name,caption\nbirds/a.wav,rain\ncats\\a.wav,wind\n")
    assert infer("--test_file", str(table), "--save_spectrograms") == 0
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*"))
    assert found == ["birds/a.png", "birds/a.wav", "cats/a.png", "cats/a.wav"]
    assert infer("--test_file", str(table)) == 0


def test_loudness_is_what_was_asked_for():
    sine = 0.2 * np.sin(2 * np.pi * 997 * np.arange(RATE) / RATE).astype(np.float32)
    # BS.1770: a sine of 997 Hz at full scale in one channel has -3.01 LUFS
    assert loudness(sine / 0.2, RATE) == pytest.approx(-3.01, abs=0.1)
    for wanted in (-30.0, -23.0):
        assert loudness(at_loudness(sine, RATE, wanted), RATE) == pytest.approx(wanted, abs=0.05)
    loud = at_loudness(bark(0.5), RATE, -5.0)
    assert np.abs(loud).max() == pytest.approx(1.0), "no louder than full scale"
    short = at_loudness(sine[:2000], RATE, -23.0)  # shorter than a block of the measure
    assert 0.01 < np.abs(short).max() < 1.0
    assert not at_loudness(np.zeros(RATE, np.float32), RATE, -23.0).any()


def test_fades_reach_zero_and_leave_the_middle():
    audio = np.ones(RATE, np.float32)
    clip = faded(audio, RATE, 0.1, 0.25)
    assert clip[0] == 0 and abs(clip[-1]) < 1e-6 and (clip[1600:-4000] == 1).all()
    assert (np.diff(clip[:1600]) >= 0).all() and (np.diff(clip[-4000:]) <= 0).all()
    assert np.isfinite(faded(audio[:100], RATE, 3.0, 3.0)).all() and (audio == 1).all()


def test_trimmed_clips_begin_with_their_sound():
    clip, _ = finish(bark(1.2), RATE, options=FinishingOptions(trim_onset=True))
    assert np.array_equal(clip, bark(1.2)[19_200 - 160 :])


@pytest.mark.parametrize(("options", "says"), [
    ({"fade_in": -1.0}, "fade_in is -1"), ({"fade_out": float("nan")}, "fade_out is nan"),
    ({"loudness": 3.0}, "-70 and 0"),
])  # fmt: skip
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(UserError, match=says):
        check_finishing(FinishingOptions(**options))


def test_without_pyloudnorm_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyloudnorm", None)
    with pytest.raises(UserError, match="pip install"):
        check_finishing(FinishingOptions(loudness=-23.0))


def test_a_run_finishes_its_clips_and_knows_it(infer, tmp_path, capsys):
    assert infer("--prompt", "rain", "--fade_out", "0.2", "--loudness", "-30") == 0
    audio, rate = soundfile.read(tmp_path / "out" / "rain.wav")
    assert abs(audio[-1]) < 1e-3 < np.abs(audio).max() < 0.2
    assert infer("--prompt", "rain", "--fade_out", "0.2", "--loudness", "-30") == 0  # it is there already
    assert infer("--prompt", "rain") == 2 and "was made with" in capsys.readouterr().err
    assert infer("--prompt", "rain", "--fade_in", "-1") == 2
