"""What a step draws, under every option that changes it."""

import dataclasses

import pytest
import torch
from helpers import close

from soundctm.distillation import DistillationConfig, draw
from soundctm.distillation.draws import DSM_MEAN, DSM_STD, Draws, solver_step_probabilities
from soundctm.schedule import SigmaSchedule

SCHEDULE = SigmaSchedule()


def drawn(config: DistillationConfig, seed: int = 0, batch: int = 64, progress: float = 0.0) -> Draws:
    return draw(torch.zeros(batch, 2, 2, 2), config, SCHEDULE, torch.Generator().manual_seed(seed), progress)


def test_draws_stay_on_the_grid_and_repeat():
    config = DistillationConfig(start_scales=18, num_heun_step=17)
    for seed in range(50):
        d, again = drawn(config, seed), drawn(config, seed)
        for a, b in zip(vars(d).values(), vars(again).values(), strict=True):
            assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        assert 1 <= d.solver_steps <= 17
        assert d.t_index.min() >= 0 and (d.path[-1] <= d.s_index).all() and d.s_index.max() <= 17
        assert torch.equal(d.path[-1], d.t_index + d.solver_steps)
        assert (2 <= d.omega).all() and (d.omega <= 5).all()
        assert d.dsm_sigma.shape == (64,) and (d.dsm_sigma > 0).all()


def test_number_of_solver_steps():
    fixed = DistillationConfig(num_heun_step=7, num_heun_step_random=False)
    assert {drawn(fixed, seed).solver_steps for seed in range(20)} == {7}
    uniform = dataclasses.replace(fixed, num_heun_step_random=True, heun_step_strategy="uniform")
    assert torch.equal(solver_step_probabilities(uniform), torch.full((7,), 1 / 7, dtype=torch.float64))
    square = dataclasses.replace(fixed, heun_step_multiplier=2.0)
    close(solver_step_probabilities(square), torch.arange(1, 8).double() ** 2 / 140, 1e-15)
    counts = torch.zeros(7)
    for seed in range(700):
        counts[drawn(uniform, seed, batch=1).solver_steps - 1] += 1
    assert counts.min() > 60  # of 100 each; 4 standard deviations are 38
    assert len(solver_step_probabilities(uniform, scales=4)) == 3, "a small grid has no room for more"


def test_s_may_always_be_the_end():
    d = drawn(DistillationConfig(sample_s_strategy="smallest"))
    assert (d.s_index == 39).all()
    free = torch.cat([drawn(DistillationConfig(num_heun_step=1), seed).s_index for seed in range(20)])
    assert len(free.unique()) == 39, "uniform: every level from the second on is drawn"


def test_omega_sampled_fixed_or_none():
    assert drawn(DistillationConfig(w_min=1.0, w_max=1.5)).omega.unique().numel() == 64
    single = drawn(DistillationConfig(cfg_single_distill=True, single_target_cfg=3.25))
    assert torch.equal(single.omega, torch.full((64,), 3.25))
    assert drawn(DistillationConfig(uniform_sampled_cfg_distill=False)).omega is None


@pytest.mark.parametrize("strategy, mean", [("uniform", 0.5), ("weighted", 2 / 3)])
def test_continuous_time(strategy, mean):
    config = DistillationConfig(time_continuous=True, heun_step_strategy=strategy, num_heun_step=20)
    shares = []
    for seed in range(400):
        d = drawn(config, seed, batch=8)
        span = d.stride * d.solver_steps
        shares.append(span / 20)
        assert 0 < span <= 20 and d.stride <= 1 and d.solver_steps - 1 < span, "steps are no longer than the grid's"
        assert d.t_index.is_floating_point() and d.t_index.min() >= 0
        assert (d.path[-1] <= d.s_index + 1e-4).all() and d.s_index.max() <= 39
    assert sum(shares) / 400 == pytest.approx(mean, abs=0.05)  # 0.5 of a uniform span, 2/3 under a density ~ span
    end = drawn(dataclasses.replace(config, sample_s_strategy="smallest", num_heun_step_random=False))
    assert (end.s_index == 39).all() and end.solver_steps == 20 and end.stride == 1


def test_a_growing_grid():
    config = DistillationConfig(scale_mode="progressive", start_scales=4, end_scales=40, num_heun_step=39)
    for progress, scales in ((0.0, 4), (1.0, 41)):
        d = [drawn(config, seed, progress=progress) for seed in range(30)]
        assert {each.scales for each in d} == {scales}
        assert max(int(each.s_index.max()) for each in d) == scales - 1
        assert max(each.solver_steps for each in d) <= scales - 1


def test_levels_of_the_denoising_loss():
    halves = drawn(DistillationConfig(diffusion_mult=0.5), batch=4001).dsm_sigma
    lowest = SCHEDULE.at(torch.tensor(0.5))
    assert (halves[2000:] >= lowest).all() and (halves[:2000] < lowest).any()
    whole = drawn(DistillationConfig(diffusion_schedule_sampler="lognormal"), batch=4001).dsm_sigma.log()
    assert whole.mean().item() == pytest.approx(DSM_MEAN, abs=0.08)
    assert whole.std().item() == pytest.approx(DSM_STD, abs=0.06)
