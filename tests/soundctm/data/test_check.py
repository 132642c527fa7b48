"""The check of a CSV of sounds finds everything that is wrong, and nothing else."""

import csv
import json
import logging

import numpy as np
import pytest
import soundfile
from clips_fixture import write_clips, write_good_clips

import ctm_train
from soundctm.data.check import check_table, summary, write_report
from soundctm.errors import UserError


def test_every_problem_is_found_with_its_line(tmp_path):
    table = write_clips(tmp_path)
    problems = check_table(table, tmp_path / "audio", workers=3, progress=False)
    assert [(p.line, p.file_name, p.problem) for p in problems] == [
        (10, "corrupt.wav", "unreadable"),
        (11, "missing.wav", "missing"),
        (12, "silent.wav", "silent"),
        (13, "short.wav", "too short"),
        (14, "2.wav", "double row"),
        (15, "copy.wav", "same content"),
    ]
    assert problems[3].detail == "0.050 s" and problems[4].detail == "as line 4" and problems[5].detail == "as 1.wav"
    assert summary(problems) == "1 missing, 1 unreadable, 1 silent, 1 too short, 1 double row, 1 same content"
    write_report(problems, tmp_path / "out" / "report.csv")
    with (tmp_path / "out" / "report.csv").open(newline="") as file:
        assert [row["problem"] for row in csv.DictReader(file)] == [p.problem for p in problems]


def test_good_data_have_no_problem_and_several_captions_of_a_sound_are_none(tmp_path):
    table = write_good_clips(tmp_path)
    with table.open("a") as file:
        file.write("2.wav,Another description\n")
    problems = check_table(table, tmp_path / "audio", progress=False)
    assert problems == [] and summary(problems) == "no problem"
    with pytest.raises(UserError, match="there is no file"):
        check_table(tmp_path / "gone.csv")


def write_channels(folder):
    """A table of stereo sounds: one of them silent on the left, one whose channels are opposite, one too loud."""
    tone = 0.3 * np.sin(np.arange(16000) / 10)
    sounds = {"right": (0 * tone, tone), "opposite": (tone, -tone), "huge": (1000 * tone, tone), "both": (tone, tone)}
    for name, channels in sounds.items():
        soundfile.write(folder / f"{name}.wav", np.stack(channels, 1), 16000, subtype="FLOAT")
    table = folder / "stereo.csv"
    table.write_text("file_name,caption\n" + "".join(f"{name}.wav,A tone\n" for name in sounds))
    return table


@pytest.mark.parametrize(
    ("reading", "problems"),
    [("normalised", {"right": "silent"}), ("plain", {"opposite": "silent", "huge": "unreadable"})],
)
def test_silence_is_what_the_codec_would_hear_of_all_channels(tmp_path, reading, problems):
    found = check_table(write_channels(tmp_path), progress=False, reading=reading)
    assert {p.file_name.removesuffix(".wav"): p.problem for p in found} == problems
    told = {"normalised": "its first channel, the one in use,", "plain": "the mean of its 2 channels"}
    assert found[0].detail == f"{told[reading]} peaks at 0, the loudest channel at 0.3"


def test_the_codec_decides_how_the_script_looks_at_sounds(tmp_path, capsys):
    table, codec = write_channels(tmp_path), tmp_path / "codec"
    codec.mkdir()
    arguments = ["teacher", "--validate_data", "--train_file", str(table), "--output_dir", str(tmp_path / "run")]
    for name, wrong in (("AudioLDMCodec", ["right.wav"]), ("WaveformCodec", ["opposite.wav", "huge.wav"])):
        (codec / "config.json").write_text(json.dumps({"_class_name": name}))
        assert ctm_train.main([*arguments, "--codec", str(codec)]) == 1
        with (tmp_path / "run" / "stereo-problems.csv").open(newline="") as file:
            assert [row["file_name"] for row in csv.DictReader(file)] == wrong
    assert ctm_train.main([*arguments, "--codec", str(tmp_path / "none")]) == 2
    assert "no codec folder at" in capsys.readouterr().err


def test_the_script_reports_and_trains_nothing(tmp_path, caplog):
    table = write_clips(tmp_path)
    arguments = ["teacher", "--validate_data", "--train_file", str(table), "--audio_dir", str(tmp_path / "audio")]
    with caplog.at_level(logging.INFO):
        assert ctm_train.main([*arguments, "--output_dir", str(tmp_path / "run")]) == 1
    assert "1 missing, 1 unreadable" in caplog.text
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["train-problems.csv"]


def test_a_report_that_cannot_be_written_and_a_name_that_is_too_long_are_sentences(tmp_path, capsys):
    table = write_good_clips(tmp_path)
    with table.open("a") as file:
        file.write("x" * 300 + ".wav,A name that no disk takes\n")
    (problem,) = check_table(table, tmp_path / "audio", progress=False)
    assert problem.problem in ("missing", "unreadable")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="report.csv cannot be written"):
        write_report([problem], tmp_path / "file" / "report.csv")
