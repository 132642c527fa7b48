"""Whole tiny trainings on the CPU: teacher, distillation, and the pipeline on what they made."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from tiny import SECONDS, write_world

from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMPipeline
from soundctm.training import distill, teacher
from soundctm.training.batches import LatentBatches


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def teacher_config(world, output, **given):
    values = {**world, "unet_model_config": str(output.parent / "unet.json"), "output_dir": str(output)}
    (output.parent / "unet.json").write_text(json.dumps(tiny.UNET))
    base = {"max_train_steps": 6, "per_device_train_batch_size": 4, "validation_every": 3, "checkpointing_steps": 3}
    return teacher.TeacherConfig(**{**values, **base, **given})


@pytest.fixture(scope="module")
def trained_teacher(world, tmp_path_factory):
    return teacher.train(teacher_config(world, tmp_path_factory.mktemp("teacher") / "run"))


def distill_config(world, trained_teacher, output, **given):
    base = {
        "teacher": str(trained_teacher), "output_dir": str(output), "total_training_steps": 6, "start_scales": 6,
        "num_heun_step": 3, "per_device_train_batch_size": 4, "validation_every": 3, "checkpointing_steps": 3,
        "start_ema": 0.9, "lr": 1e-3,
    }  # fmt: skip
    return distill.DistillConfig(**{**world, **base, **given})


def test_teacher_logs_and_resumes_to_the_same_weights(world, trained_teacher, tmp_path):
    log = [json.loads(line) for line in (trained_teacher.parent / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 6 and all(np.isfinite(list(line.values())).all() for line in log)
    assert log[-1]["validation_loss"] > 0
    # three steps, the end of that run, and three more from its checkpoint; the schedule is that of six steps
    config = teacher_config(world, tmp_path / "run")
    stop_after(teacher, 3, config)
    resumed = teacher.train(config)
    for a, b in zip(weights(trained_teacher).values(), weights(resumed).values(), strict=True):
        assert torch.equal(a, b)


def test_distillation_makes_a_checkpoint_that_sounds(world, trained_teacher, tmp_path):
    config = distill_config(world, trained_teacher, tmp_path / "run")
    model = distill.train(config)
    stop_after(distill, 3, again := dataclasses.replace(config, output_dir=str(tmp_path / "again")))
    resumed = distill.train(again)
    for part in ("ema", "student"):
        for a, b in zip(weights(model / part).values(), weights(resumed / part).values(), strict=True):
            assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(weights(model / "ema").values(), weights(model / "student").values(), strict=True)
    )
    for kind, steps in (("ema", 1), ("ema", 3), ("student", 2), ("teacher", 3)):
        out = SoundCTMPipeline.from_pretrained(model, kind, device="cpu")(["a dog barking", "rain"], steps, seed=3)
        assert out.audios.shape == (2, round(SECONDS * 16000)) and out.audios.dtype == np.float32
        assert np.isfinite(out.audios).all() and np.abs(out.audios).max() <= 1


def test_checkpoint_of_another_configuration_is_refused(world, trained_teacher, tmp_path):
    output = tmp_path / "run"
    teacher.train(teacher_config(world, output, max_train_steps=1))
    unet = {**tiny.UNET, "block_out_channels": [16, 32]}
    config = teacher_config(world, output)
    (output.parent / "unet.json").write_text(json.dumps(unet))
    with pytest.raises(UserError, match="another configuration"):
        teacher.train(config)


def test_batches_are_a_function_of_the_step(world):
    class Rows:
        captions = [f"caption {i}" for i in range(10)]

        def draw(self, rows, generator):
            return rows[:, None].float()

    class Encoder:
        def encode(self, captions):
            from soundctm.text import TextConditioning

            hidden = torch.tensor([[float(bool(c))] for c in captions])[..., None]
            return TextConditioning(hidden, torch.ones(len(captions), 1, dtype=torch.bool))

    whole = LatentBatches(Rows(), Encoder(), 4, 0.5, seed=1)
    seen = torch.cat([whole(step).latents for step in range(5)]).flatten()
    assert sorted(seen[:10].tolist()) == list(range(10)) and sorted(seen[10:].tolist()) == list(range(10))
    assert torch.equal(LatentBatches(Rows(), Encoder(), 4, 0.5, seed=1)(3).latents, whole(3).latents)
    halves = [LatentBatches(Rows(), Encoder(), 2, 0.5, seed=1, rank=rank, world=2) for rank in range(2)]
    for step in range(5):
        assert torch.equal(torch.cat([h(step).latents for h in halves]), whole(step).latents)
    dropped = torch.cat([whole(step).text.hidden for step in range(100)])
    assert 0.4 < 1 - dropped.mean() < 0.6


def weights(folder):
    return load_file(folder / "diffusion_pytorch_model.safetensors")


class Stop(Exception):
    pass


def stop_after(module, steps, config):
    """Run `module.train` and break it off as a kill would, after the checkpoint of step `steps`."""
    from soundctm.training.run import Run

    save = Run.save

    def save_and_stop(self, step, parts, spent):
        save(self, step, parts, spent)
        if step == steps:
            raise Stop

    Run.save = save_and_stop
    try:
        with pytest.raises(Stop):
            module.train(config)
    finally:
        Run.save = save
