"""What of the step's options the training loop must pass on: the course of grid and decay, and a missing omega."""

import json
import math

import pytest
import tiny

from soundctm.networks import TeacherUNet
from soundctm.training.tasks import distill


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    TeacherUNet.from_config(tiny.UNET).save_pretrained(folder / "teacher")
    return {
        **tiny.write_world(folder), "teacher": str(folder / "teacher"), "total_training_steps": 4, "log_every": 1,
        "per_device_train_batch_size": 2, "start_scales": 3, "num_heun_step": 2, "validation_every": 4,
        "checkpointing_steps": 4, "sample_clips": 0, "export_parts": ("ema",),
    }  # fmt: skip


def train(base, folder, **given):
    distill.train(distill.DistillConfig(**{**base, "output_dir": str(folder), **given}))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "consistency" in line]


def test_grid_and_decay_follow_the_training(base, tmp_path, monkeypatch):
    decays, sizes = [], []
    update, draw = distill.update_ema, distill.draw
    monkeypatch.setattr(distill, "update_ema", lambda a, b, decay: decays.append(decay) or update(a, b, decay))

    def noted(*arguments):
        drawn = draw(*arguments)
        sizes.append(drawn.scales)
        return drawn

    monkeypatch.setattr(distill, "draw", noted)
    train(
        base, tmp_path, scale_mode="progressive", end_scales=9, num_heun_step=8, target_ema_mode="adaptive",
        start_ema=0.9,
    )  # fmt: skip
    # a quarter, a half and three quarters of the way: sqrt(p (100 - 9) + 9) - 1, rounded up, is the number of steps
    steps = [math.ceil(math.sqrt(p * 91 + 9) - 1) for p in (0, 0.25, 0.5, 0.75)]
    assert steps == [2, 5, 7, 8]
    assert decays == pytest.approx([0.9 ** (3 / n) for n in steps])
    assert set(sizes) >= {n + 1 for n in steps}


def test_training_without_guidance_in_continuous_time(base, tmp_path):
    lines = train(base, tmp_path, uniform_sampled_cfg_distill=False, time_continuous=True, solver="multistep")
    assert len(lines) == 4
    assert all("omega" not in line and math.isfinite(line["loss"]) for line in lines)
