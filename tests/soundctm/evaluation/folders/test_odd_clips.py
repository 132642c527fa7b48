"""Folders as they come: scaled wrongly, one content many times, no common names, subfolders, several captions."""

from __future__ import annotations

import functools
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
from evaluation_sounds import RATE, SpectrumExtractor, register, sound, write_folder

from soundctm.errors import UserError
from soundctm.evaluation.folders.evaluate import evaluate
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.evaluation.folders.run import main
from soundctm.inference.clips import plan_clips
from soundctm.inference.prompts import read_prompts


@pytest.fixture(autouse=True)
def spectrum(tmp_path, monkeypatch):
    clap = functools.partial(SpectrumExtractor, "clap", pooled=True)
    register(monkeypatch, tmp_path, {"spectrum": SpectrumExtractor, "clap": clap})


@pytest.fixture
def folders(tmp_path):
    return write_folder(tmp_path / "real", 12), write_folder(tmp_path / "made", 12, take=1)


def report_of(reference, generated, *metrics, **settings):
    settings = {"extractors": ("spectrum",)} | settings
    given = EvaluationOptions(
        str(generated), None if reference is None else str(reference), metrics=metrics, **settings
    )
    return evaluate(given)


@pytest.mark.parametrize("scale", [32767.0, 1e30])
def test_floats_at_another_scale_are_named(folders, caplog, scale):
    real, made = folders
    for name in ("c03.wav", "c05.wav"):
        soundfile.write(made / name, scale * sound(3), RATE, subtype="FLOAT")
    soundfile.write(made / "c06.wav", 3 * sound(6), RATE, subtype="FLOAT")  # hot, but meant so
    report = report_of(real, made, "fad")
    assert report.generated.beyond == ("c03.wav", "c05.wav")
    assert "c03.wav peaks at" in caplog.text and "far beyond full scale" in caplog.text
    assert "generated: 2 clips are far beyond full scale, not scaled to [-1, 1] (c03.wav, c05.wav)" in report.table()
    assert report.lines()[0]["generated_clips"]["beyond_full_scale"] == ["c03.wav", "c05.wav"]


def test_clips_of_one_content_are_named_and_silent_ones_are_silent(folders, caplog):
    real, made = folders
    for name in ("c04.wav", "c07.wav"):
        shutil.copy(made / "c01.wav", made / name)
    soundfile.write(made / "c09.wav", np.zeros(RATE), RATE)
    soundfile.write(made / "c10.wav", np.zeros(RATE), RATE)
    report = report_of(real, made, "fad")
    assert report.generated.same == (("c01.wav", "c04.wav", "c07.wav"),)
    assert report.generated.silent == ("c09.wav", "c10.wav")
    assert "3 clips have the same content: c01.wav, c04.wav, c07.wav" in caplog.text
    assert "generated: 3 clips have the same content" in report.table()
    assert report.reference.same == () == report.reference.beyond


def test_without_common_names_the_rest_is_computed_and_what_is_not_is_told(folders, capsys):
    real, made = folders
    for path in sorted(made.iterdir()):
        path.rename(made / f"x{path.name}")
    given = ["--reference_dir", str(real), "--generated_dir", str(made), "--extractors", "spectrum"]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "FAD-Spectrum" in printed and "IS-Spectrum" in printed and "KL-Spectrum" not in printed
    assert "no KL: kl compares clips of one name, and no name of the generated clips (xc00.wav, ...)" in printed
    lines = [json.loads(line) for line in (made.parent / "made.evaluation.jsonl").read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["FAD-Spectrum", "IS-Spectrum"] and "KL" in lines[0]["left_out"]


def test_names_are_checked_before_any_sound_is_read(folders, monkeypatch):
    real, made = folders
    for path in sorted(made.iterdir()):
        path.rename(made / f"x{path.name}")
    monkeypatch.setattr("soundctm.evaluation.folders.evaluate.folder_features", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(UserError, match="kl compares clips of one name"):
        report_of(real, made, "kl")


def test_too_few_clips_for_one_statistic_leave_the_others(tmp_path):
    real, made = (write_folder(tmp_path / name, 5, take=take) for take, name in enumerate(("real", "made")))
    report = report_of(real, made, "fad", "kl", "is")
    assert [result.metric for result in report.results] == ["FAD-Spectrum", "KL-Spectrum"]
    assert "needs at least 10 clips, got 5" in report.left_out["IS, spectrum"]


def test_subfolders_pair_with_subfolders(folders, tmp_path):
    real, made = folders
    for folder in folders:
        for part, names in (("birds", range(6)), ("cats", range(6, 12))):
            (folder / part).mkdir()
            for number in names:
                (folder / f"c{number:02d}.wav").rename(folder / part / f"{number % 6}.wav")
    pairing = report_of(real, made, "kl")["KL-Spectrum"].pairing
    assert len(pairing.pairs) == 12 and all(i == j for i, j in pairing.pairs)
    with pytest.raises(UserError, match="one lies in the other"):
        report_of(tmp_path, made, "kl")


def test_several_captions_of_a_clip_agree_with_what_inference_writes(tmp_path):
    """AudioCaps' test set has five captions a clip: five clips are made, KL pairs each, CLAP each with its caption."""
    table = tmp_path / "captions.csv"
    rows = [(f"c{n:02d}.wav", "x" * (1 + 5 * n + k)) for n in range(4) for k in range(5)]
    table.write_text("file_name,caption\n" + "".join(f"{name},{caption}\n" for name, caption in rows))
    real, made = write_folder(tmp_path / "real", 4), tmp_path / "made"
    made.mkdir()
    clips = plan_clips(read_prompts(table), 0, 1)
    for number, clip in enumerate(clips):
        soundfile.write(made / f"{clip.name}.wav", sound(number), RATE)
    report = report_of(real, made, "kl", "clap", captions=str(table))
    kl, clap = report["KL-Spectrum"].pairing, report["CLAP score"].pairing
    assert len(kl.pairs) == 20 and not kl.unmatched_first and not kl.unmatched_generated
    assert {(report.reference.names[i], report.generated.names[j][:3]) for i, j in kl.pairs} == {
        (f"c{n:02d}.wav", f"c{n:02d}") for n in range(4)
    }
    assert {(i, report.generated.names[j]) for i, j in clap.pairs} == {
        (i, f"{clip.name}.wav") for i, clip in enumerate(clips)
    }


def test_names_that_are_no_utf8_are_shown_as_bytes(tmp_path, capsys):
    real, made = (tmp_path / os.fsdecode(name) for name in (b"r\xe9al", b"mad\xe9"))
    for take, folder in enumerate((real, made)):
        os.rename(write_folder(tmp_path / "written", 12, take=take), folder)
        (folder / "c11.wav").rename(folder / os.fsdecode(b"caf\xe9.wav"))
    given = ["--reference_dir", str(real), "--generated_dir", str(made), "--extractors", "spectrum", "--metrics", "fad"]
    assert main([*given, "--page", str(tmp_path / "page.html")]) == 0
    assert "mad\\xe9" in capsys.readouterr().out
    line = json.loads((tmp_path / os.fsdecode(b"mad\xe9.evaluation.jsonl")).read_text())
    assert line["n_generated"] == 12 and line["generated_dir"].endswith("mad\\xe9")
    assert "caf\\xe9.wav" in (tmp_path / "page.html").read_text()
