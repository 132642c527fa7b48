"""Trainings under `accelerate launch` with the repository's configuration files."""

import json
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from corpus_fixture import write_corpus
from script_runs import ROOT, run_script
from tiny import UNET, write_world

from soundctm.checkpoints import load_network
from soundctm.networks import StudentUNet, TeacherUNet

FILES = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_configurations_are_understood_and_leave_the_precision_to_the_training(path):
    config = load_config_from_file(str(path))
    assert config.mixed_precision == "no" and config.num_processes >= config.num_machines
    assert f"--config_file configs/accelerate/{path.name}" in path.read_text()


@pytest.mark.slow
def test_two_processes_of_the_cpu_configuration_train_together(tmp_path):
    write_corpus(tmp_path / "corpus")
    done = run_script(
        sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch",
        "--config_file", str(ROOT / "configs" / "accelerate" / "cpu.yaml"), str(ROOT / "ctm_train.py"), "vae",
        "--corpus", str(tmp_path / "corpus"), "--output_dir", str(tmp_path / "run"), "--channels", "8 8 8",
        "--norm_num_groups", "4", "--window_frames", "16", "--batch_size", "2", "--total_batch_size", "8",
        "--steps", "2", "--log_every", "1", "--seconds", "0.32",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines().count(f"finished: {tmp_path / 'run' / 'codec'}") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    step = lines[0]
    assert step["samples_per_second"] * step["step_seconds"] == pytest.approx(8)
    assert Path(tmp_path / "run" / "checkpoint-00000002").is_dir()


@pytest.mark.slow
def test_two_processes_of_the_sharded_configuration_distil_together(tmp_path):
    world = write_world(tmp_path)
    TeacherUNet.from_config(UNET).save_pretrained(tmp_path / "teacher")
    options = {
        **world, "teacher": tmp_path / "teacher", "output_dir": tmp_path / "run", "shard": True,
        "start_scales": 4, "num_heun_step": 2, "batch_size": 2, "total_training_steps": 2, "log_every": 1,
    }  # fmt: skip
    flags = [
        word
        for name, value in options.items()
        for word in (f"--{name}", str(value).lower() if isinstance(value, bool) else str(value))
    ]
    done = run_script(
        sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch",
        "--config_file", str(ROOT / "configs" / "accelerate" / "fsdp.yaml"), "--num_processes", "2",
        str(ROOT / "ctm_train.py"), "distill", *flags,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "consistency" in line] == [1, 2]
    assert isinstance(load_network(tmp_path / "run" / "model" / "ema", "student"), StudentUNet)
