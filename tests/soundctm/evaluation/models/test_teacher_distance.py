"""How far students end from their teacher: known distances, the shipped small model, the command."""

import json

import numpy as np
import pytest
from script_runs import ROOT

from soundctm.defaults import SEED
from soundctm.evaluation.models import teacher_distance
from soundctm.evaluation.models.teacher_distance import Distance, distance
from soundctm.pipeline import SoundCTMOutput, SoundCTMPipeline

CAPTIONS = ["a dog barking", "rain falling", "a door being closed"]


@pytest.fixture(scope="module")
def teacher():
    return SoundCTMPipeline.from_pretrained(ROOT / "ckpt" / "mini", "teacher", "cpu")


@pytest.fixture(scope="module")
def wanted(teacher):
    return teacher(CAPTIONS, 10)


def test_a_clip_is_at_no_distance_from_itself(teacher, wanted):
    same = distance(teacher, CAPTIONS, wanted, wanted, batch_size=2)
    assert same == Distance(0.0, 0.0, 0.0, 0.0)


def test_half_the_amplitude_is_six_decibels_less_and_zero_latents_are_one_away(teacher, wanted):
    other = SoundCTMOutput(wanted.audios / 2, wanted.sampling_rate, 0 * wanted.latents)
    found = distance(teacher, CAPTIONS, wanted, other, batch_size=3)
    assert found.level == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert found.latents == pytest.approx(1.0)
    assert found.features > 0.1 and found.texture > 0.1


def test_the_small_student_ends_nearer_its_teacher_from_the_same_noise(teacher, wanted):
    student = SoundCTMPipeline.from_pretrained(ROOT / "ckpt" / "mini", "ema", "cpu")
    near, far = (distance(teacher, CAPTIONS, wanted, student(CAPTIONS, 4, seed=seed), 3) for seed in (SEED, 1))
    assert near.latents < 0.7 * far.latents
    assert near.features < 0.7 * far.features


def test_the_command_prints_what_it_writes(tiny_checkpoint, tmp_path, capsys):
    path, captions = tmp_path / "distances.json", tmp_path / "captions.txt"
    captions.write_text("\n".join(CAPTIONS))
    flags = ["--captions", str(captions), "--clips", "2", "--steps", "1", "2", "--teacher_steps", "3"]
    assert teacher_distance.main([*flags, "--students", str(tiny_checkpoint), "--output", str(path)]) == 0
    written = json.loads(path.read_text())[str(tiny_checkpoint)]
    assert list(written) == ["1", "2"]
    lines = capsys.readouterr().out.splitlines()[2:]
    for line, (steps, numbers) in zip(lines, written.items(), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [str(tiny_checkpoint), steps]
        assert cells[2:5] == [f"{numbers[name]:.3f}" for name in ("latents", "features", "texture")]
        assert numbers["latents"] > 0


def test_what_is_missing_is_said_in_one_line(student_checkpoint, capsys):
    for flags, message in (
        ([], "give at least one of --students"),
        (["--students", "nowhere"], "nowhere"),
        (["--students", str(student_checkpoint)], "teacher"),
        (["--students", str(student_checkpoint), "--clips", "0"], "clips is 0"),
    ):
        assert teacher_distance.main(flags) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and error.count("\n") == 1
