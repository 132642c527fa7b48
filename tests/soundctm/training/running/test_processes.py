"""Real processes: killed at any moment, several together over gloo, one of them with bad data or a full disk.

What depends on the network runs over both backbones, the transformer with text of one vector per caption, where a part
of its weights is idle.
"""

import dataclasses
import json
import os
import shutil
import signal
import time
from pathlib import Path

import processes
import pytest
import tiny
import torch
import toy
from safetensors.torch import load_file
from toy import toy_config

from soundctm.training.running.checkpointing import Checkpointer
from soundctm.training.tasks.distill import DistillConfig
from soundctm.training.tasks.teacher import TeacherConfig


def losses(folder):
    read = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    kept = ("loss", "grad_norm", "balance", "consistency")
    return {line["step"]: {k: line[k] for k in kept if k in line} for line in read if "loss" in line}


def wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def weights(path):
    if path.is_dir():
        return load_file(path / "diffusion_pytorch_model.safetensors")
    return torch.load(path, weights_only=True)


def equal(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


BEFORE = {"unet": None, "dit": "tiny:one_vector"}  # what every process calls first
TASKS = {TeacherConfig: "soundctm.training.tasks.teacher", DistillConfig: "soundctm.training.tasks.distill"}


@dataclasses.dataclass(frozen=True)
class World:
    """Options of a tiny teacher, which is trained, and of the distillation from it, over one backbone."""

    network: str
    teacher: TeacherConfig
    distill: DistillConfig | None = None

    def start(self, config, count=1):
        return processes.training(TASKS[type(config)], config, count, BEFORE[self.network])

    def run(self, config, count=1):
        """Exit codes of a whole training on `count` processes."""
        return processes.run(TASKS[type(config)], config, count, BEFORE[self.network])


@pytest.fixture(scope="module", params=list(tiny.NETWORKS))
def world(request, tmp_path_factory):
    """Options of a tiny distillation whose teacher, latents and student's start are there."""
    folder = tmp_path_factory.mktemp("world")
    options = tiny.write_world(folder)
    teacher = TeacherConfig(
        **options, unet_model_config=str(folder / f"{request.param}.json"), output_dir=str(folder / "teacher"),
        max_train_steps=6, per_device_train_batch_size=4,
    )  # fmt: skip
    assert World(request.param, teacher).run(teacher) == [0]
    distill = DistillConfig(
        **options, teacher=str(folder / "teacher" / "teacher"), start_scales=6, num_heun_step=3, start_ema=0.9, lr=1e-3,
        per_device_train_batch_size=4, total_training_steps=20, log_every=1, validation_every=10,
        checkpointing_steps=10, export_parts=("ema", "student"), keep_best=False,
    )  # fmt: skip
    return World(request.param, teacher, distill)


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """The uninterrupted distillation of one process."""
    config = dataclasses.replace(world.distill, output_dir=str(tmp_path_factory.mktemp("whole") / "run"))
    assert world.run(config) == [0]
    return config


def output(config):
    return Path(config.output_dir)


def killed_after_a_checkpoint(world, config, count):
    """Run, SIGKILL some steps after the first checkpoint, and run again to the end."""
    with world.start(config, count) as started:
        log = output(config) / "log.jsonl"
        wait_for(lambda: log.is_file() and log.read_text().count("\n") >= 12)
        for process in started:
            os.kill(process.pid, signal.SIGKILL)
        assert set(processes.finish(started)) == {-signal.SIGKILL}
    assert [path.name for path in output(config).glob("checkpoint-*")] == ["checkpoint-00000010"]
    assert world.run(config, count) == [0] * count


def test_killed_distillation_goes_on_bit_by_bit(world, whole, tmp_path):
    config = dataclasses.replace(whole, output_dir=str(tmp_path))
    killed_after_a_checkpoint(world, config, 1)
    assert losses(tmp_path) == losses(output(whole)) and len(losses(tmp_path)) == 20
    for part in ("ema", "student"):
        assert equal(tmp_path / "model" / part, output(whole) / "model" / part)


def test_two_processes_are_one_and_go_on_bit_by_bit(world, whole, tmp_path):
    config = dataclasses.replace(whole, per_device_train_batch_size=2, output_dir=str(tmp_path / "two"))
    assert world.run(config, 2) == [0, 0]
    one, two = losses(output(whole)), losses(tmp_path / "two")
    assert len(two) == 20
    for step, values in two.items():  # the adaptive weight among them
        assert values == pytest.approx(one[step], rel=1e-3), step
    for part in ("ema", "student"):
        a, b = weights(output(whole) / "model" / part), weights(tmp_path / "two" / "model" / part)
        for name in a:
            torch.testing.assert_close(a[name].float(), b[name].float(), rtol=1e-2, atol=2e-4)

    killed = dataclasses.replace(config, output_dir=str(tmp_path / "killed"))
    killed_after_a_checkpoint(world, killed, 2)
    assert losses(tmp_path / "killed") == two
    for part in ("ema", "student"):
        assert equal(tmp_path / "killed" / "model" / part, tmp_path / "two" / "model" / part)


def test_two_processes_share_the_solving_of_trajectories(world, whole, tmp_path):
    made = {}
    for count in (1, 2):
        config = dataclasses.replace(
            whole, per_device_train_batch_size=4 // count, output_dir=str(tmp_path / f"run{count}"), trajectories=40,
            cache_dir=str(tmp_path / f"cache{count}"), total_training_steps=6, validation_items=0,
        )  # fmt: skip
        assert world.run(config, count) == [0] * count
        made[count] = sorted(Path(config.cache_dir).glob("trajectories/*/*"))
    assert len(made[1]) == 3 and [path.name for path in made[1]] == [path.name for path in made[2]]
    for one, two in zip(*made.values(), strict=True):
        a, b = load_file(one), load_file(two)
        for name in ("states", "latents", "omega"):
            torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-3)
    one, two = losses(tmp_path / "run1"), losses(tmp_path / "run2")
    assert len(two) == 6
    for step, values in two.items():
        assert values == pytest.approx(one[step], rel=1e-3), step


def test_a_student_cut_over_two_processes_is_the_whole_one(world, whole, tmp_path):
    """Also after a kill, and when an uncut checkpoint goes on cut."""
    config = dataclasses.replace(whole, per_device_train_batch_size=2, output_dir=str(tmp_path / "cut"), shard=True)
    start = tmp_path / "cut" / "checkpoint-00000010"
    shutil.copytree(output(whole) / start.name, start)
    assert world.run(config, 2) == [0, 0]
    one, two = losses(output(whole)), losses(tmp_path / "cut")
    assert sorted(two) == list(range(11, 21))
    for step, values in two.items():
        assert values == pytest.approx(one[step], rel=1e-3), step
    ours, theirs = (Checkpointer(folder).latest()[1] for folder in (tmp_path / "cut", output(whole)))
    assert ours["optimizer"]["param_groups"] == theirs["optimizer"]["param_groups"]
    for number, state in theirs["optimizer"]["state"].items():
        assert ours["optimizer"]["state"][number]["exp_avg"].shape == state["exp_avg"].shape
    for part in ("ema", "student"):
        a, b = weights(output(whole) / "model" / part), weights(tmp_path / "cut" / "model" / part)
        for name in a:
            torch.testing.assert_close(a[name].float(), b[name].float(), rtol=1e-2, atol=2e-4)


def test_two_processes_train_the_teacher_of_one(world, tmp_path):
    teacher = world.teacher
    config = dataclasses.replace(teacher, per_device_train_batch_size=2, output_dir=str(tmp_path), log_every=1)
    assert world.run(config, 2) == [0, 0]
    a, b = weights(output(teacher) / "teacher"), weights(tmp_path / "teacher")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


def test_a_nan_row_of_one_process_is_skipped_by_both(tmp_path):
    config = toy_config(tmp_path / "two", batch_size=2, bad_rows=("7:3", "8:0"))
    assert processes.run("toy", config, 2) == [0, 0]
    one = toy_config(tmp_path / "one", batch_size=4, bad_rows=("7:3", "8:0"))
    ours, theirs = weights(output(config) / "network.pt"), weights(toy.train(one))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
    events = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines() if "event" in line]
    assert [event["step"] for event in events] == [8, 9] and events[-1]["skipped"] == 2
    stops = toy_config(tmp_path / "stops", batch_size=2, max_bad_steps=3, bad_rows=("7:3", "8:0", "9:1"))
    assert processes.run("toy", stops, 2) == [2, 2]


def test_sigterm_to_one_of_two_processes_saves_and_ends_both(tmp_path):
    config = toy_config(tmp_path, batch_size=2, steps=100000, pause=0.01, checkpointing_steps=0)
    with processes.training("toy", config, 2) as started:
        log = tmp_path / "log.jsonl"
        wait_for(lambda: log.is_file() and log.read_text().count("\n") >= 3)
        os.kill(started[1].pid, signal.SIGTERM)
        assert processes.finish(started, 20) == [143, 143]
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    assert Checkpointer.load(checkpoint)[0] == len(losses(tmp_path))


def test_two_trainings_do_not_share_a_folder_and_a_dead_one_blocks_none(tmp_path):
    """Runs of two processes each."""
    config = toy_config(tmp_path / "run", batch_size=2, steps=100000, pause=0.01)
    with processes.training("toy", config, 2) as started:
        log = tmp_path / "run" / "log.jsonl"
        wait_for(lambda: log.is_file() and log.read_text().count("\n") >= 7)
        assert processes.run("toy", config, 2) == [2, 2]
        assert "first process cannot" in (message := processes.error_file(config).read_text()) or "in use" in message
        assert all(process.is_alive() for process in started)
        for process in started:
            os.kill(process.pid, signal.SIGKILL)
        processes.finish(started)
    assert processes.run("toy", dataclasses.replace(config, steps=12, pause=0.0), 2) == [0, 0]
    assert not list((tmp_path / "run").glob(".*"))


def test_killed_while_saving_the_last_whole_checkpoint_is_used(tmp_path):
    config = toy_config(tmp_path / "killed")
    with processes.training("toy", config, before="toy:save_slowly") as started:
        wait_for(lambda: list((tmp_path / "killed").glob(".*.tmp/state.pt")))
        time.sleep(0.1)
        os.kill(started[0].pid, signal.SIGKILL)
        assert processes.finish(started) == [-signal.SIGKILL]
    assert Checkpointer(tmp_path / "killed").latest()[0] == 5
    assert processes.run("toy", config) == [0]
    assert not list((tmp_path / "killed").glob(".*")), "what the killed save left is gone"
    assert equal(tmp_path / "killed" / "network.pt", toy.train(toy_config(tmp_path / "whole")))


def test_a_full_disk_is_an_error_and_the_old_checkpoint_stays(small_disk):
    config = toy_config(small_disk, width=1000, steps=10, validation_every=0)  # 72 KB a checkpoint
    (small_disk / "other").write_bytes(bytes(150_000))
    with processes.training("toy", config) as started:
        assert processes.finish(started) == [2]
    message = processes.error_file(config).read_text()
    assert f"{small_disk}/checkpoint-00000010 cannot be written: No space left on device" in message
    assert "KiB are needed" in message and "of 300 KiB are free there" in message
    assert Checkpointer(small_disk).latest()[0] == 5 and not list(small_disk.glob(".*.tmp"))
    (small_disk / "other").unlink()
    assert processes.run("toy", config) == [0]


def test_a_write_that_fails_half_way_is_an_error_and_leaves_nothing(tmp_path):
    assert processes.run("toy", toy_config(tmp_path, width=10, steps=5)) == [0]
    grown = toy_config(tmp_path / "grown", width=1000, steps=5)
    assert processes.run("toy", grown, before="toy:limit_files") == [2]
    assert "checkpoint-00000005 cannot be written: a write failed half-way (" in processes.error_file(grown).read_text()
    assert not list((tmp_path / "grown").glob("*checkpoint*"))
