"""Batches from the device's memory: the same clips and words as from the CPU, whole epochs, trajectories, resuming."""

import dataclasses
import json

import pytest
import tiny
import torch
from helpers import close

from soundctm.errors import UserError
from soundctm.networks import TeacherUNet
from soundctm.training.inputs.resident import ResidentBatches
from soundctm.training.tasks import distill, teacher

TOTAL = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return tiny.write_world(folder) | {"per_device_train_batch_size": TOTAL, "resident": True, "log_every": 1}


@pytest.fixture(scope="module")
def task(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    return teacher.TeacherTask(teacher.TeacherConfig(**world, output_dir=str(folder)))


def rows_of(source, steps):
    """Items of the given steps in order."""
    return torch.cat([source.batch(step, range(TOTAL)).items for step in steps])


def test_every_epoch_brings_every_clip_once_with_its_own_words(task):
    source, data = task.source, task.source.data
    epochs = -(-2 * len(data) // TOTAL)
    items = rows_of(source, range(epochs))
    assert (
        sorted(items[: len(data)].tolist()) == sorted(items[len(data) : 2 * len(data)].tolist()) == [*range(len(data))]
    )
    numbers = dataclasses.replace(source.batch(0, range(TOTAL)), dropped=torch.tensor([False, True, False]))
    batch = task.with_text(numbers)
    for row, item in enumerate(numbers.items.tolist()):
        mean, _, caption = data[item]
        wanted = task.texts.encode(["" if row == 1 else caption])
        length = wanted.mask.sum()
        assert int(batch.text.mask[row].sum()) == int(length)
        close(batch.text.hidden[row, :length], wanted.hidden[0, :length], 1e-5)
        close(
            batch.empty.hidden[row, : len(task.texts.encode([""]).hidden[0])], task.texts.encode([""]).hidden[0], 1e-5
        )


def test_latents_are_draws_from_the_posteriors_of_the_clips(task):
    source, data = task.source, task.source.data
    draws = torch.stack(
        [source.gathered(dataclasses.replace(source.batch(0, range(TOTAL)), step=k)).latents for k in range(200)]
    )
    items = source.batch(0, range(TOTAL)).items.tolist()
    mean = data.scale_factor * torch.stack([data[item][0] for item in items])
    std = data.scale_factor * torch.stack([(0.5 * data[item][1]).exp() for item in items])
    error = (draws.mean(0) - mean).abs() / (std / 200**0.5 + 1e-3)
    assert error.mean() < 2 and error.max() < 8
    assert (draws.std(0) / std).mean() == pytest.approx(1, abs=0.05)


def test_a_batch_is_a_function_of_step_and_rows_and_captions_are_dropped_at_the_asked_rate(task):
    source = task.source
    again = ResidentBatches(source.data, task.texts, TOTAL, 0.3, source.seed, torch.device("cpu"))
    dropped = torch.cat([again.batch(step, range(TOTAL)).dropped for step in range(400)]).float()
    assert float(dropped.mean()) == pytest.approx(0.3, abs=0.05)
    first, second = (again.gathered(again.batch(5, range(1, TOTAL))) for _ in range(2))
    assert torch.equal(first.latents, second.latents) and torch.equal(first.text.hidden, second.text.hidden)
    whole = again.batch(5, range(TOTAL))
    assert torch.equal(whole.items[1:], again.batch(5, range(1, TOTAL)).items)
    assert torch.equal(whole.dropped[1:], again.batch(5, range(1, TOTAL)).dropped)


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_teacher_resumed_is_the_same_teacher_also_with_workers(world, tmp_path):
    kept = dict(world, max_train_steps=4, validation_every=4, checkpointing_steps=2, sample_clips=0)
    whole = teacher.train(teacher.TeacherConfig(**kept, output_dir=str(tmp_path / "a")))
    teacher.train(teacher.TeacherConfig(**kept, output_dir=str(tmp_path / "b"), num_workers=1))
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "checkpoint-00000002").rename(tmp_path / "c" / "checkpoint-00000002")
    part = teacher.train(teacher.TeacherConfig(**kept, output_dir=str(tmp_path / "c")))
    files = [folder / "diffusion_pytorch_model.safetensors" for folder in (whole, tmp_path / "b" / "teacher", part)]
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


def test_trajectories_in_memory_are_the_teachers_and_give_the_same_student_when_resumed(world, tmp_path):
    options = world | {
        "teacher": str(tmp_path / "teacher"), "start_scales": 5, "num_heun_step": 4, "trajectories": 7,
        "export_parts": ("ema",), "total_training_steps": 4, "uncond_prob": 0.5, "validation_every": 4,
        "checkpointing_steps": 2, "sample_clips": 0,
    }  # fmt: skip
    torch.manual_seed(0)
    TeacherUNet.from_config(tiny.UNET).save_pretrained(tmp_path / "teacher")
    task = distill.DistillTask(distill.DistillConfig(**options, output_dir=str(tmp_path / "task")))
    batch = task.with_text(task.source.batch(1, range(TOTAL)))
    assert batch.states.shape == (TOTAL, 5, *batch.latents.shape[1:])
    assert ((batch.omega >= 2) & (batch.omega <= 5)).all()
    assert ((batch.states[:, 0] - batch.latents) / 80).std() == pytest.approx(1, abs=0.1)
    solved = task.model.step.trajectory(batch.states[:, 0], batch.text, batch.empty, batch.omega)
    close(batch.states, solved, 1e-4)
    whole = distill.train(distill.DistillConfig(**options, output_dir=str(tmp_path / "a")))
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "checkpoint-00000002").rename(tmp_path / "b" / "checkpoint-00000002")
    part = distill.train(distill.DistillConfig(**options, output_dir=str(tmp_path / "b")))
    name = "ema/diffusion_pytorch_model.safetensors"
    assert (whole / name).read_bytes() == (part / name).read_bytes()


def test_what_cannot_lie_in_memory_is_refused(task, world):
    class Live:
        live = True

    with pytest.raises(UserError, match="resident needs clips encoded before"):
        ResidentBatches(Live(), task.texts, 3, 0.1, 0, torch.device("cpu"))
    config = teacher.TeacherConfig(**dict(world, mix_share=0.25, per_device_train_batch_size=8))
    with pytest.raises(UserError, match="mix_share"):
        teacher.TeacherTask(config)
