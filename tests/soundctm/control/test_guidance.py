"""The three methods reach a target that can be reached, leave rows alone that are there, and do not mix rows."""

import pytest
import torch
from gaussian import flow
from helpers import close

from soundctm.control import Control, Curve, Objective, intensity
from soundctm.control.guidance import (
    bands_together,
    descend,
    gradient,
    mean_guidance,
    nearest_noise,
    optimise_noise,
    through_network,
)  # fmt: skip
from soundctm.errors import UserError
from soundctm.samplers import SAMPLERS
from soundctm.schedule import SigmaSchedule
from soundctm.steering import keeping, repaint, steered

SCHEDULE = SigmaSchedule()
TARGET = torch.linspace(-0.4, 0.6, 8, dtype=torch.float64)


def loss(z):
    """The mean over channels of each frame shall be TARGET."""
    return (z.mean((1, 3)) - TARGET).square().mean(1)


def noise(rows=2):
    return torch.randn(rows, 3, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def run(jump, steps=4, z=None):
    sigmas = SCHEDULE.grid(steps + 1, torch.float64)
    return SAMPLERS["deterministic"](jump, 80 * noise() if z is None else z, sigmas, None)


def test_a_linear_measure_is_met_in_one_move():
    moved = descend(loss, noise(), 1, 10.0)
    assert loss(moved).max() < 1e-20


@pytest.mark.parametrize("steps", [1, 4])
def test_mean_guidance_reaches_the_target(steps):
    assert loss(run(flow, steps)).min() > 0.05
    jump = steered(flow, mean_guidance(loss, 10, 0.5), SCHEDULE.sigma_min)
    assert loss(run(jump, steps)).max() < 1e-4


@pytest.mark.parametrize("steps", [1, 4])
def test_guidance_through_the_network_reaches_the_target(steps):
    jump = through_network(flow, loss, SCHEDULE.sigma_min, 20, 0.3)
    assert loss(run(jump, steps)).max() < 1e-3


def test_a_noise_is_found_and_stays_a_noise():
    clean = lambda e: flow(80 * e, torch.tensor(80.0), torch.tensor(0.002))  # noqa: E731
    seen = []
    e = optimise_noise(clean, loss, noise(), 200, 0.02, 3e-2, lambda k, error: seen.append(error))
    assert loss(clean(e)).max() <= 3e-2 and len(seen) < 200
    close(e.flatten(1).norm(dim=1), noise().flatten(1).norm(dim=1), 1e-6)
    assert all((b <= a).all() for a, b in zip(seen[:-1], seen[1:], strict=True))


def test_a_noise_that_is_near_enough_is_left_while_others_are_not():
    """What a row becomes does not depend on how long the others of its batch take."""
    clean = lambda e: flow(80 * e, torch.tensor(80.0), torch.tensor(0.002))  # noqa: E731
    alone = optimise_noise(clean, loss, noise()[:1], 200, 0.02, 0.1)
    target = lambda z: loss(z) * torch.tensor([1.0, 50.0], dtype=torch.float64)[: len(z)]  # noqa: E731
    both = optimise_noise(clean, target, noise(), 200, 0.02, 0.1)
    close(both[:1], alone, 1e-12)
    assert loss(clean(alone)).item() > 0.05, "not moved farther than it need be"


def test_the_nearest_of_several_noises():
    clean = lambda e: flow(80 * e, torch.tensor(80.0), torch.tensor(0.002))  # noqa: E731
    others = [noise(8)[2 * k : 2 * k + 2] for k in range(1, 4)]
    draws = iter(others)
    e = nearest_noise(clean, loss, noise(), lambda: next(draws), 4)
    errors = torch.stack([loss(clean(x)) for x in (noise(), *others)])
    close(loss(clean(e)), errors.min(0).values, 1e-12)
    assert torch.equal(nearest_noise(clean, loss, noise(), lambda: next(draws), 1), noise())


def test_a_move_ends_a_little_below_the_threshold():
    moved = loss(descend(loss, noise(), 1, 10.0, threshold=0.01))
    assert (moved <= 0.01).all() and (moved > 0.8 * 0.01).all()


def test_rows_do_not_mix():
    jump = through_network(flow, loss, SCHEDULE.sigma_min, 3, 0.1)
    close(run(jump)[1:], run(jump, z=80 * noise()[1:]), 1e-10)
    clean = lambda e: flow(80 * e, torch.tensor(80.0), torch.tensor(0.002))  # noqa: E731
    both = optimise_noise(clean, loss, noise(), 5, 0.05)
    close(both[1:], optimise_noise(clean, loss, noise()[1:], 5, 0.05), 1e-10)


def test_what_is_good_enough_is_left_alone():
    z = noise()
    assert torch.equal(descend(loss, z, 5, 0.1, threshold=1e9), z)


def test_gradients_of_the_composition_agree_with_finite_differences():
    z = noise(1)
    values, slope = gradient(lambda z: loss(flow(z, torch.tensor(2.0), torch.tensor(0.002))), z)
    direction = torch.randn_like(z)
    moved = lambda h: loss(flow(z + h * direction, torch.tensor(2.0), torch.tensor(0.002)))  # noqa: E731
    close((moved(1e-5) - moved(-1e-5)) / 2e-5, (slope * direction).sum()[None], 1e-6)


def test_bands_move_together_for_both_kinds_of_latents():
    slope = noise()
    together = bands_together(slope, 0.0)
    close(together, slope.mean(3, keepdim=True).expand_as(slope), 1e-12)
    assert torch.equal(bands_together(slope[..., 0]), slope[..., 0])


def test_guided_steps_are_those_of_the_window():
    active = Control(Objective(intensity, Curve(((0, 0),))), window=(0.0, 0.5)).active(SCHEDULE.fraction)
    grid = SCHEDULE.grid(5)
    assert [active(t) for t in grid] == [True, True, True, False, False]
    assert SCHEDULE.fraction(80.0) == pytest.approx(0) and SCHEDULE.fraction(0.002) == pytest.approx(1)


@pytest.mark.parametrize("sampler, gamma", [("deterministic", 0), ("gamma_multistep", 0.5), ("cm_multistep", 1)])
def test_what_is_known_stays(sampler, gamma):
    known, mask = noise(1) * 0.25, torch.zeros(1, 1, 8, 1, dtype=torch.float64)
    mask[:, :, 3:5] = 1
    jump = steered(flow, keeping(known, mask), SCHEDULE.sigma_min)
    draw = lambda k: torch.randn(known.shape, dtype=torch.float64)  # noqa: E731
    z = SAMPLERS[sampler](jump, 80 * noise(1), SCHEDULE.grid(5, torch.float64), draw, gamma)
    assert (z - known)[:, :, [0, 1, 2, 5, 6, 7]].abs().max() < 1e-2
    z = repaint(flow, 80 * noise(1), SCHEDULE.grid(5, torch.float64), draw, known, mask, 2)
    assert (z - known)[:, :, [0, 1, 2, 5, 6, 7]].abs().max() < 0.002 * 6


def test_nothing_changed_is_the_jump():
    close(run(steered(flow, lambda z, t: z, SCHEDULE.sigma_min)), run(flow), 1e-12)


@pytest.mark.parametrize("options, words", [
    ({"method": "magic"}, "noise, network, mean"), ({"strength": 0.0}, "above 0"),
    ({"iterations": 0, "candidates": 1}, "at least 1"),
    ({"candidates": 0}, "0 control candidates"), ({"candidates": 4, "iterations": -1}, "at least 1"),
    ({"window": (0.5, 0.5)}, "must rise"), ({"threshold": -1.0}, "0 or more"),
])  # fmt: skip
def test_refusals(options, words):
    with pytest.raises(UserError, match=words):
        Control(Objective(intensity, Curve(((0, 0),))), **options)
