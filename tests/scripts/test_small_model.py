"""`bash ctm_inference.sh` with the model that is shipped: what a stranger sees first."""

from __future__ import annotations

import csv
import time

import numpy as np
import soundfile
import torch
from script_runs import ROOT, run_script

from soundctm.evaluation.folders.levels import FULL_SCALE, MUCH_RUMBLE, OFFSET, levels_of


def test_the_one_command(tmp_path):
    done = run_script("bash", str(ROOT / "ctm_inference.sh"), OUTPUT_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    with open(ROOT / "data" / "demo_captions.csv", newline="") as file:
        captions = list(csv.DictReader(file))
    assert len(captions) >= 8 and str(tmp_path) in done.stderr
    for row in captions:
        audio, rate = soundfile.read(tmp_path / row["file_name"])
        name = row["file_name"]
        assert rate == 16000 and audio.shape == (40960,) and np.isfinite(audio).all(), name
        assert np.sqrt(np.mean(audio**2)) > 1e-3, f"{name} is silent"
        levels = levels_of(name, torch.from_numpy(audio), rate)
        assert levels.peak < FULL_SCALE and abs(levels.offset) < OFFSET and levels.rumble < MUCH_RUMBLE, levels
        assert (tmp_path / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")

    begun = time.perf_counter()
    again = run_script("bash", str(ROOT / "ctm_inference.sh"), OUTPUT_DIR=str(tmp_path))
    assert again.returncode == 0 and time.perf_counter() - begun < 40.0


def test_default_captions_hold_words_that_the_corpus_lacks():
    def words(path):
        with open(path, newline="", encoding="utf-8") as file:
            return {word for row in csv.DictReader(file) for word in row["caption"].lower().split()}

    assert len(words(ROOT / "data" / "demo_captions.csv") - words(ROOT / "data" / "corpus.csv")) >= 5


def test_the_small_model_is_small():
    files = [path for path in (ROOT / "ckpt" / "mini").rglob("*") if path.is_file()]
    assert files, "ckpt/mini is not there"
    assert sum(path.stat().st_size for path in files) <= 40e6
