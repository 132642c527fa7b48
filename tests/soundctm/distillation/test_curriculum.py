"""Scales and decay over a training, against numbers worked out by hand."""

import math

import pytest

from soundctm.distillation import DistillationConfig, scales_at, target_decay
from soundctm.errors import UserError


def test_fixed_is_the_default_and_never_changes():
    config = DistillationConfig()
    assert {scales_at(config, p) for p in (0, 0.3, 1)} == {40}
    assert {target_decay(config, p) for p in (0, 0.3, 1)} == {0.999}


def test_progressive_scales_grow_from_the_first_to_past_the_last():
    config = DistillationConfig(scale_mode="progressive", start_scales=2, end_scales=150, num_heun_step=39)
    # half way: sqrt((151^2 + 2^2) / 2) = 106.78..., minus 1 rounded up is 106 steps
    assert [scales_at(config, p) for p in (0, 0.5, 1)] == [2, 107, 151]
    grown = [scales_at(config, i / 1000) for i in range(1001)]
    assert grown == sorted(grown)
    assert scales_at(config, 1.7) == 151, "a run that goes on past its end stays there"


def test_the_adaptive_decay_keeps_the_average_as_long_as_a_trajectory():
    config = DistillationConfig(
        scale_mode="progressive", target_ema_mode="adaptive", start_scales=2, end_scales=150, start_ema=0.95,
        num_heun_step=1,
    )  # fmt: skip
    for p in (0.0, 0.5, 1.0):
        steps = scales_at(config, p) - 1
        assert target_decay(config, p) ** steps == pytest.approx(0.95**2)
    assert target_decay(config, 1.0) == pytest.approx(math.exp(2 * math.log(0.95) / 150))


def test_combinations_that_mean_nothing_are_refused():
    with pytest.raises(UserError, match="needs scale_mode progressive"):
        DistillationConfig(target_ema_mode="adaptive")
    with pytest.raises(UserError, match="end_scales is 20"):
        DistillationConfig(scale_mode="progressive", start_scales=40, end_scales=20)
    with pytest.raises(UserError, match="num_heun_step is 40; with 40 scales it is 1 to 39"):
        DistillationConfig(num_heun_step=40)
    assert DistillationConfig(num_heun_step=60, scale_mode="progressive", end_scales=80)
