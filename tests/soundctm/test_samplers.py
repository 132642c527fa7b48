"""Golden f of both backbones, the exact flow map under every sampler, and clips that ignore their batch."""

import pytest
import torch
from backbones import BACKBONES
from gaussian import MU, STD, flow
from helpers import close
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SCHEDULE

from soundctm.denoisers import guided_jump
from soundctm.samplers import SAMPLERS, clip_noise

GOLDENS = {name: net.golden("f_samplers") for name, net in BACKBONES.items()}
CASES = [(net, k) for name, net in BACKBONES.items() for k in sorted(GOLDENS[name]) if k.split(".")[0] in SAMPLERS]


@torch.no_grad()
@pytest.mark.parametrize(("net", "case"), CASES, ids=[f"{net.NAME}-{case}" for net, case in CASES])
def test_samplers_match_the_official_ones(net, case):
    """One batch of two, where the official UNet can only run batch 1 with omega."""
    f = GOLDENS[net.NAME]
    name, steps = case.split(".")[0], int(case.split(".steps")[1].split(".")[0])
    nu = float(case.split(".nu")[1][:3])
    omega = None if case.endswith("noomega") else torch.full((2,), net.OMEGA)
    jump = guided_jump(net.student(), net.text(f), net.empty(f, 2), omega, nu)
    z = SAMPLERS[name](jump, f["x_T"], net.SCHEDULE.grid(steps + 1), lambda k: f["noise"][k], 0.5)
    close(z, f[case], 3e-5)


@pytest.mark.parametrize("steps", [1, 2, 4, 16])
@pytest.mark.parametrize("name", ["deterministic", "onestep"])
def test_exact_flow_map_is_followed(name, steps):
    z = 80 * torch.randn(1, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigmas = SCHEDULE.grid(steps + 1, torch.float64)
    close(SAMPLERS[name](flow, z, sigmas, None), flow(z, sigmas[0], sigmas[-1]), 1e-12)


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("name, gamma", [("cm_multistep", 1.0), ("gamma_multistep", 0.5), ("gamma_multistep", 1.0)])
def test_exact_flow_map_keeps_the_distribution(name, gamma, steps):
    """With the exact flow, noising and jumping again leaves N(mu, std^2 + sigma_min^2)."""
    generator = torch.Generator().manual_seed(0)
    n = 200_000
    z = MU + (80**2 + STD**2) ** 0.5 * torch.randn(1, n, dtype=torch.float64, generator=generator)
    draws = lambda k: torch.randn(1, n, dtype=torch.float64, generator=generator)  # noqa: E731
    clean = SAMPLERS[name](flow, z, SCHEDULE.grid(steps + 1, torch.float64), draws, gamma)
    assert abs(clean.mean().item() - MU) < 4 * STD / n**0.5
    assert abs(clean.std().item() - STD) < 4 * STD / (2 * n) ** 0.5


@given(gamma=st.floats(0, 1), steps=st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_gamma_landings_stay_between_the_levels(gamma, steps):
    """Every jump goes down, noise never has a negative variance, the last level is sigma_min."""
    seen = []

    def jump(z, t, s):
        seen.append((float(t), float(s)))
        return z

    z = SAMPLERS["gamma_multistep"](
        jump, torch.zeros(1, 4), SCHEDULE.grid(steps + 1), lambda k: torch.ones(1, 4), gamma
    )
    assert torch.isfinite(z).all() and len(seen) == steps
    assert all(s <= t * (1 + 1e-6) for t, s in seen)
    assert seen[-1][1] == pytest.approx(0.002, rel=1e-4)


def test_gamma_zero_is_deterministic_and_one_is_cm():
    z, sigmas = torch.randn(2, 8, dtype=torch.float64), SCHEDULE.grid(6, torch.float64)
    noise = torch.randn(5, 2, 8, dtype=torch.float64)
    draw = lambda k: noise[k]  # noqa: E731
    close(
        SAMPLERS["gamma_multistep"](flow, z, sigmas, draw, 0.0), SAMPLERS["deterministic"](flow, z, sigmas, draw), 1e-12
    )
    assert torch.equal(
        SAMPLERS["gamma_multistep"](flow, z, sigmas, draw, 1.0), SAMPLERS["cm_multistep"](flow, z, sigmas, draw)
    )


def test_clip_noise_ignores_the_batch():
    generators = lambda seeds: [torch.Generator().manual_seed(s) for s in seeds]  # noqa: E731
    batch = clip_noise((3, 4), generators([5, 6, 7]))
    assert torch.equal(batch[1:2], clip_noise((3, 4), generators([6])))
    assert torch.equal(batch.flip(0), clip_noise((3, 4), generators([7, 6, 5])))
