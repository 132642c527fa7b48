"""A pipeline that makes a sine per seed in no time and remembers what it was asked for."""

from types import SimpleNamespace

import numpy as np
import pytest

from soundctm.inference import run as run_module

RATE, SECONDS = 16000, 0.32


class FakeCodec:
    default_seconds, sample_format = SECONDS, "16"

    def latent_shape(self, seconds=None):
        return 8, round((seconds or SECONDS) / 0.04), 16


class FakePipeline:
    def __init__(self):
        self.codec, self.calls = FakeCodec(), []
        self.stop_before = None  # number of the call that is interrupted

    def __call__(self, prompts, num_inference_steps=1, **settings):
        if self.stop_before == len(self.calls):
            raise KeyboardInterrupt
        self.calls.append(SimpleNamespace(prompts=list(prompts), steps=num_inference_steps, **settings))
        seconds = settings["seconds"] or SECONDS
        t = np.arange(round(seconds * RATE)) / RATE
        audios = [np.sin(2 * np.pi * (200 + seed % 4000) * t) for seed in settings["seed"]]
        return SimpleNamespace(audios=np.asarray(audios, np.float32), sampling_rate=RATE, scores=None, seeds=None)


@pytest.fixture
def pipeline(monkeypatch):
    fake = FakePipeline()
    monkeypatch.setattr(run_module, "load_pipeline", lambda options, device: fake)
    return fake


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    (folder / "ema").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "ema" / "weights.safetensors").write_bytes(b"0" * 300_000)
    return folder


@pytest.fixture
def infer(tmp_path, checkpoint, pipeline):
    """Runs the script's main in this process, into tmp_path/out; returns its exit code."""

    def call(*arguments):
        return run_module.main(
            ["--checkpoint", str(checkpoint), "--output_dir", str(tmp_path / "out"), "--device", "cpu", *arguments]
        )

    return call
