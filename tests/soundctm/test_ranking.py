"""Candidates are judged by CLAP where its weights are, and without them by YAMNet and MiniLM."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile
import tiny
import torch
from helpers import close
from scipy.signal import chirp

from soundctm.data.audio import resample
from soundctm.errors import UserError
from soundctm.evaluation.extractors import weights
from soundctm.evaluation.extractors.clap import load_clap
from soundctm.inference.run import main
from soundctm.ranking import ClapAgreement, ClassAgreement, load_agreement, rank_rows
from tests.soundctm.evaluation.extractors import test_clap

RATE = 16_000


def sounds(count: int, seconds: float = 0.5) -> torch.Tensor:
    noise = np.random.default_rng(0).standard_normal((count, round(seconds * RATE)))
    return torch.from_numpy(0.1 * noise * np.linspace(0.2, 1, count)[:, None]).float()


@pytest.fixture
def clap(tmp_path, monkeypatch):
    """A random CLAP where its weights are looked for."""
    monkeypatch.chdir(tmp_path)
    return test_clap.write(tmp_path / weights.CLAP_FOLDER, fusion=False)


def test_clap_is_the_judge_where_it_is(clap):
    judge = load_agreement()
    assert isinstance(judge, ClapAgreement) and judge.name == "clap"
    captions, waveforms = ["a dog barks", "rain", "rain"], sounds(3)
    scores = judge(captions, waveforms, RATE)
    assert len(scores) == 3 and all(-1 <= score <= 1 for score in scores)
    extractor = load_clap()

    one = extractor([resample(waveforms[1], RATE, extractor.sampling_rate)])[0].embeddings[0]
    close(torch.tensor(scores[1]), one @ extractor.embed_texts(["rain"])[0], 1e-5)
    assert judge(captions[:1], waveforms[:1], RATE) == pytest.approx(scores[:1], abs=1e-5), "in any batch the same"


def test_the_command_ranks_with_clap(clap, tmp_path):
    model = tiny.write_checkpoint(tmp_path / "model", teacher=False)
    flags = ["--checkpoint", str(model), "--device", "cpu", "--output_dir", "out", "--keep_silent"]
    assert main([*flags, "--prompt", "a dog barks", "--num_samples", "2", "--rank", "all"]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "manifest.csv").open()))
    heard = [torch.from_numpy(soundfile.read(tmp_path / "out" / row["file"], dtype="float32")[0]) for row in rows]
    wanted = load_agreement()(["a dog barks"] * 2, torch.stack(heard), RATE)
    assert [float(row["score"]) for row in rows] == pytest.approx(wanted, abs=1e-3) and wanted[0] != wanted[1]


def test_a_broken_clap_is_said_and_not_passed_over(clap):
    (clap / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="extractors/clap holds no CLAP model"):
        load_agreement()


def test_without_clap_classes_decide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judge = load_agreement()
    assert isinstance(judge, ClassAgreement) and judge.name == "yamnet"
    time = np.arange(RATE) / RATE
    siren = chirp(time % 0.5, 600, 0.5, 1400) + 0.1 * np.sin(2 * np.pi * 2000 * time)
    noise = np.random.default_rng(0).standard_normal(RATE)
    pair = torch.from_numpy(np.stack([0.3 * siren, 0.1 * noise])).float()
    sirens, hiss = judge(["a siren"] * 2, pair, RATE), judge(["static noise"] * 2, pair, RATE)
    assert sirens[0] > sirens[1] and hiss[1] > hiss[0]


def test_the_best_of_each_prompt():
    assert rank_rows([0.1, 0.3, 0.2, 5.0, 4.0, 4.5], 2) == [1, 3]
    assert rank_rows([1.0, 1.0], 1) == [0], "the first of equals"
