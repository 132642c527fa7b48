"""Trajectories on disk, of both backbones: the losses of solving in the step, whole epochs, interrupted solving."""

import dataclasses
import json
import math
import pickle

import pytest
import tiny
import torch
from helpers import close
from leftovers import left_by_a_dead_process

from soundctm.distillation import DistillationConfig
from soundctm.errors import UserError
from soundctm.training.inputs.rows import Order
from soundctm.training.inputs.trajectories import BLOCK, StoredTrajectories
from soundctm.training.tasks import distill

COUNT = BLOCK + 5


@pytest.fixture(scope="module", params=list(tiny.NETWORKS))
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    for seed in (0, 1):
        tiny.new_networks(request.param, seed)[0].save_pretrained(folder / f"teacher{seed}")
    return {
        **tiny.write_world(folder), "teacher": str(folder / "teacher0"), "total_training_steps": 4, "log_every": 1,
        "per_device_train_batch_size": 3, "start_scales": 5, "num_heun_step": 4, "validation_every": 4,
        "checkpointing_steps": 4, "export_parts": ("ema",), "trajectories": COUNT, "uncond_prob": 0.5,
    }  # fmt: skip


def config(world, folder, **given):
    return distill.DistillConfig(**{**world, "output_dir": str(folder), **given})


def task_of(world, folder, **given):
    return distill.DistillTask(config(world, folder, **given))


def files(task):
    return {path.name: path for path in task.source.folder.iterdir()}


@pytest.mark.parametrize("solver", ["heun", "multistep"])
def test_losses_are_those_of_solving_in_the_step(world, tmp_path, solver):
    task = task_of(world, tmp_path, solver=solver)
    step = task.model.step
    rows = task.source.batch(0, range(3))
    assert rows.states.shape == (3, 5, *rows.latents.shape[1:]) and (2 <= rows.omega).all() and (rows.omega <= 5).all()
    batch = task.with_text(rows)
    draws = distill.draw_rows(task.config, 0, 0, range(3), 3, rows.latents.shape[1:], 0.0)
    noise = (rows.states[:, 0] - rows.latents) / 80
    assert noise.std() == pytest.approx(1, abs=0.1)
    # a trajectory begins at the noisiest level, and so does a step that shall be the same
    draws = dataclasses.replace(
        draws, t_index=torch.zeros(3, dtype=torch.long), s_index=torch.full((3,), 4), omega=rows.omega, noise=noise
    )
    stored, solved = (step(batch.latents, batch.text, batch.empty, draws, states) for states in (rows.states, None))
    for name in ("total", "consistency", "denoising", "balance"):
        close(getattr(stored, name).detach(), getattr(solved, name).detach(), 1e-4)
    # and levels further down are looked up, not solved again
    later = dataclasses.replace(draws, t_index=torch.tensor([0, 1, 2]), solver_steps=2, s_index=torch.full((3,), 4))
    calls = []
    hook = step.teacher.network.repeated_blocks[0].register_forward_hook(lambda *_: calls.append(1))
    step(batch.latents, batch.text, batch.empty, later, rows.states)
    hook.remove()
    assert len(calls) == 2  # the features of target and estimate


def test_training_on_them_and_what_is_solved_anew(world, tmp_path):
    distill.train(config(world, tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "consistency" in line]
    assert len(trained) == 4 and all(math.isfinite(line["loss"]) and 2 <= line["omega"] <= 5 for line in trained)

    first = files(task_of(world, tmp_path / "run"))
    assert sorted(first) == ["000000.safetensors", "000001.safetensors"]
    kept, lost = first["000000.safetensors"], first["000001.safetensors"]
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    again = files(task_of(world, tmp_path / "run"))
    assert again == first and kept.stat().st_mtime_ns == before and lost.read_bytes() == content

    other = task_of(world, tmp_path / "other", teacher=world["teacher"].replace("teacher0", "teacher1"))
    assert other.source.folder != kept.parent and sorted(files(other)) == sorted(first)
    assert kept.stat().st_mtime_ns == before
    unguided = task_of(world, tmp_path / "none", uniform_sampled_cfg_distill=False)
    assert unguided.source.batch(0, range(2)).omega is None


def test_a_damaged_file_is_solved_again_with_a_word_and_leftovers_are_swept(world, tmp_path, caplog):
    source = task_of(world, tmp_path).source
    path, left = source.folder / "000001.safetensors", left_by_a_dead_process(source.folder)
    content = path.read_bytes()
    for damaged in (b"", content[:-100]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="start again to solve them anew"):
            for step in range(COUNT // 3):
                source.batch(step, range(3))
        task_of(world, tmp_path)
        assert path.read_bytes() == content
    assert caplog.text.count("cannot be used and is solved again") == 2 and not left.exists()


def test_batches_are_whole_epochs_of_all_trajectories(world, tmp_path):
    source = task_of(world, tmp_path).source
    seen = [source.batch(step, range(3)) for step in range(COUNT // 3)]
    starts = torch.cat([rows.states[:, 0].flatten(1) for rows in seen])
    assert len(torch.unique(starts, dim=0)) == COUNT
    captions = [caption for rows in seen for caption in rows.captions]
    assert 0 < captions.count("") < COUNT
    again = source.batch(2, range(1, 2))
    assert torch.equal(again.states[0], seen[2].states[1]) and again.captions[0] == seen[2].captions[1]
    (source.folder / "000001.safetensors").unlink()
    with pytest.raises(UserError, match=r"000001\.safetensors"):
        for step in range(COUNT // 3):
            source.batch(step, range(3))


def test_samples_without_held_out_clips_have_captions_of_the_training(world, tmp_path):
    task = task_of(world, tmp_path, validation_items=0, sample_clips=2)
    prompts = task.prompts()
    assert len(prompts) == 2 and set(prompts) <= set(task.source.data.captions)


def test_order_is_a_permutation_per_epoch_whatever_is_asked_first():
    order = Order(7, seed=3)
    epochs = [[order[epoch * 7 + place] for place in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs) and epochs[0] != epochs[1]
    backwards = pickle.loads(pickle.dumps(order))  # as worker processes that are not forked get it
    assert [backwards[place] for place in reversed(range(21))] == [item for epoch in epochs for item in epoch][::-1]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="start again"):
        StoredTrajectories(tmp_path, [], 4, 2, 0).batch(0, range(1))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"trajectories": 8, "time_continuous": True}, "one grid"),
        ({"trajectories": 8, "scale_mode": "progressive"}, "one grid"),
        ({"trajectories": -1}, "trajectories is -1"),
        ({"texture_weight": -0.5}, "texture_weight is -0.5"),
    ],
)
def test_options_that_do_not_fit(given, message):
    with pytest.raises(UserError, match=message):
        DistillationConfig(**given)
