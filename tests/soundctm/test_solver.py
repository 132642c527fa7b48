"""Golden d of both backbones, and the solvers against the closed form for Gaussian data."""

import pytest
import torch
from backbones import over_both
from gaussian import flow, gaussian_denoiser
from helpers import close
from nets import SCHEDULE

from soundctm.denoisers import guided
from soundctm.solver import SOLVERS, heun, last, multistep, sample_teacher


@torch.no_grad()
@over_both
def test_heun_matches_the_official_solver(net):
    d, teacher = net.golden("d_heun"), net.teacher()
    prompt, x = net.text(d), d["x_t"]
    counts = [int(key.removeprefix("heun.")) for key in d if key.startswith("heun.")]
    assert len(counts) >= 2
    for steps in counts:
        path = net.SCHEDULE.grid(40)[d["index"] + torch.arange(steps + 1)[:, None]]
        plain = last(heun(lambda z, sigma: teacher(z, sigma, prompt), x, path))
        assert (plain - d[f"heun.{steps}"]).abs().max() <= 5e-5
        cfg = last(heun(guided(teacher, prompt, net.empty(d, 2), d["guidance"]), x, path))
        assert (cfg - d[f"heun_cfg.{steps}"]).abs().max() <= 5e-5
        close(cfg - x, d[f"heun_cfg.{steps}"] - x, 1e-4)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=list(SOLVERS))
def test_solvers_are_second_order_on_gaussian_data(solver):
    z = torch.linspace(-3, 3, 50, dtype=torch.float64).reshape(1, 50) * 10
    exact = flow(z, torch.tensor(10.0).double(), torch.tensor(0.05).double())

    def error(steps: int) -> float:
        sigmas = torch.logspace(1, -1.30103, steps + 1, dtype=torch.float64)
        return (last(solver(gaussian_denoiser, z, sigmas)) - exact).abs().max().item()

    errors = [error(n) for n in (64, 128, 256)]
    ratios = [a / b for a, b in zip(errors[:-1], errors[1:], strict=True)]
    assert all(3.6 < r < 4.4 for r in ratios), ratios


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=list(SOLVERS))
def test_a_path_per_sample_is_separate_runs(solver):
    z = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    paths = torch.tensor([[5.0, 3.0, 1.0], [2.0, 1.0, 0.5]], dtype=torch.float64)
    both = last(solver(gaussian_denoiser, z, paths.T))
    alone = torch.cat([last(solver(gaussian_denoiser, z[i : i + 1], paths[i])) for i in range(2)])
    close(both, alone, 1e-14)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=list(SOLVERS))
def test_every_state_is_where_a_shorter_path_ends(solver):
    z, path = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), SCHEDULE.grid(6)
    states = list(solver(gaussian_denoiser, z, path))
    assert len(states) == len(path) - 1
    for k, state in enumerate(states, start=1):
        assert torch.equal(state, last(solver(gaussian_denoiser, z, path[: k + 1])))


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_calls_of_the_denoiser(steps):
    calls = []

    def denoise(z, sigma):
        calls.append(sigma)
        return gaussian_denoiser(z, sigma)

    z, path = torch.ones(1, 4), SCHEDULE.grid(40)[: steps + 1]
    by_heun = last(heun(denoise, z, path))
    assert len(calls) == 2 * steps
    calls.clear()
    by_multistep = last(multistep(denoise, z, path))
    assert len(calls) == steps + 1
    assert torch.equal(by_heun, by_multistep) == (steps == 1), "one step is Heun's"


def test_teacher_sampler_reaches_the_data():
    calls = []

    def denoise(z, sigma):
        calls.append(float(sigma))
        return gaussian_denoiser(z, sigma)

    noise = 80 * torch.randn(1, 20000, generator=torch.Generator().manual_seed(1))
    clean = sample_teacher(denoise, noise, SCHEDULE, 40)
    assert len(calls) == 79 and clean.dtype == torch.float32
    wanted = flow(noise.double(), torch.tensor(80.0).double(), torch.tensor(1e-8).double())
    close(clean.double(), wanted, 2e-2)  # the discretisation error of 40 levels is 1.2 %
