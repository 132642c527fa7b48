"""Clips shorter than a model's own begin with their sound; silent ones are named and not written; honest pictures."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

from soundctm.inference.finishing import cut_at_onset, finish, is_nearly_silent, onset
from soundctm.inference.spectrogram import RANGE_DB, mel_db

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
