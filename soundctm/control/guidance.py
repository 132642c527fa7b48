"""Three ways to make a sound follow a target without training; `loss` is a function of clean latents, [B, ...] -> [B].

    through the network   before a step, move z_t against the gradient of loss(G(z_t, t, sigma_min)) with respect to z_t
    mean-guided           after the jump, move the clean estimate against its own gradient; the network is not asked
    initial noise         before sampling, find a noise whose clip at one step follows the target (as DITTO-2 does)

Each may begin with the nearest of several noises, which costs no gradient and leaves a clip what the network makes of
it: the less there is left to move, the less a clip is moved away from its caption.

The first two are jumps made of a jump, so they go with every sampler and edit. Moves are free of scale: the length of a
step is that which would bring the loss to zero were its root linear (Gauss-Newton along the gradient; Polyak's step
twice), limited to a share `reach` of what is moved.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from soundctm.control.objective import Loss
from soundctm.denoisers import Jump
from soundctm.schedule import append_dims
from soundctm.steering import Change

AIM = 0.95  # of the threshold's root: a move that is to end below it ends here

OnStep = Callable[[int, torch.Tensor], None]  # (iteration, loss of every clip [B])


def norms(x: torch.Tensor) -> torch.Tensor:
    """[B] Euclidean norms of the rows."""
    return x.flatten(1).norm(dim=1)


def gradient(loss: Loss, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss [B], gradient of each row's own loss, shape of x); x stays as it is."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = loss(x)
        (slope,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), slope


def descend(
    loss: Loss, x: torch.Tensor, iterations: int, reach: float, threshold: float = 0.0,
    smooth: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:  # fmt: skip
    """`x` moved `iterations` times down the slope of `loss`; a row stops once its loss is below `threshold`.

    `smooth` maps a gradient to a direction. A row's step is 2 loss / <gradient, direction>, shortened so that it ends
    a little below `threshold`, and never longer than `reach` times the row; of all points seen, each row keeps its
    best.
    """
    best, lowest = x, None
    for k in range(iterations + 1):
        values, slope = gradient(loss, x)
        better = values < lowest if lowest is not None else torch.ones_like(values, dtype=torch.bool)
        best = torch.where(append_dims(better, x.ndim), x, best)
        lowest = values if lowest is None else torch.minimum(values, lowest)
        if k == iterations or bool((lowest <= threshold).all()):
            break
        direction = slope if smooth is None else smooth(slope)
        along = (slope * direction).flatten(1).sum(1)
        # were the root of the loss linear: the share of the way to zero that ends at AIM of the threshold's root
        share = 1 - AIM * (threshold / values.clamp_min(1e-20)).sqrt().clamp_max(1)
        length = torch.minimum(
            2 * values * share / along.clamp_min(1e-20), reach * norms(x) / norms(direction).clamp_min(1e-20)
        )
        length = torch.where(values > threshold, length, torch.zeros_like(length))
        x = x - append_dims(length, x.ndim) * direction
    return best


def through_network(
    jump: Jump, loss: Loss, sigma_min: float, iterations: int, reach: float, threshold: float = 0.0,
    active: Callable[[torch.Tensor], bool] = lambda t: True,
) -> Jump:  # fmt: skip
    """The jump from a z_t moved so that its clean estimate follows the target. Costs a backward pass per iteration."""

    def guided(z: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        if active(t):
            lowest = torch.full_like(t, sigma_min)
            z = descend(lambda z: loss(jump(z, t, lowest)), z, iterations, reach, threshold)
        return jump(z, t, s)

    return guided


def mean_guidance(
    loss: Loss,
    iterations: int,
    reach: float,
    threshold: float = 0.0,
    active: Callable[[torch.Tensor], bool] = lambda t: True,
) -> Change:
    """The change of the clean estimate, for `soundctm.steering.steered`."""
    return lambda clean, t: descend(loss, clean, iterations, reach, threshold, bands_together) if active(t) else clean


def bands_together(slope: torch.Tensor, alone: float = 0.1) -> torch.Tensor:
    """A direction for latents [B, C, T, F, ...] that moves the bands of a frame mostly as one.

    The gradient of a level is large where the sound is loud already: following it flattens a spectrum or hollows it
    out. Its mean over the bands is a gain. Where that mean is zero, as for a measure that no gain changes, the gradient
    itself is left. Latents [B, C, T] are their own bands.
    """
    if slope.ndim < 4:
        return slope
    mean = slope.mean(dim=tuple(range(3, slope.ndim)), keepdim=True)
    return (1 - alone) * mean + alone * slope


def nearest_noise(
    clean: Callable[[torch.Tensor], torch.Tensor], loss: Loss, noise: torch.Tensor,
    draw: Callable[[], torch.Tensor], count: int,
) -> torch.Tensor:  # fmt: skip
    """Of `noise` and `count` - 1 more draws, each row's own whose clip `clean`(noise), made at one step, is nearest."""
    lowest = loss(clean(noise))
    for _ in range(count - 1):
        other = draw()
        values = loss(clean(other))
        noise = torch.where(append_dims(values < lowest, noise.ndim), other, noise)
        lowest = torch.minimum(values, lowest)
    return noise


def optimise_noise(
    clean: Callable[[torch.Tensor], torch.Tensor], loss: Loss, noise: torch.Tensor, iterations: int, rate: float,
    threshold: float = 0.0, on_step: OnStep | None = None,
) -> torch.Tensor:  # fmt: skip
    """A standard normal [B, C, ...] near `noise` whose clip `clean`(noise), made at one step, has a small loss.

    Adam with step `rate`; every row's norm is put back to what it was after each. A row keeps the best noise seen, and
    the first one below `threshold`: however long the others of its batch take, it is not moved farther than it need be.
    """
    size = norms(noise)
    best, lowest = noise, torch.full((len(noise),), torch.inf, device=noise.device)
    e = noise.clone()
    optimiser = torch.optim.Adam([e], lr=rate)
    for k in range(iterations + 1):
        values, slope = gradient(lambda e: loss(clean(e)), e)
        better = (values < lowest) & (lowest > threshold)
        best = torch.where(append_dims(better, e.ndim), e.detach(), best).clone()
        lowest = torch.where(better, values, lowest)
        if on_step is not None:
            on_step(k, lowest)
        if k == iterations or bool((lowest <= threshold).all()):
            break
        # each row's gradient has unit norm, so that Adam's memory does not depend on the loss's units
        e.grad = slope / append_dims(norms(slope).clamp_min(1e-20), e.ndim)
        optimiser.step()
        with torch.no_grad():
            e *= append_dims(size / norms(e), e.ndim)
    return best
