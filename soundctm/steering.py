"""Steering: an edited clip is a sampler that runs on an edited jump.

A jump from t to s keeps the share s/t of its noisy input and takes 1 - s/t of what the network thinks is behind it:
G(z, t, s) = (s/t) z + (1 - s/t) g. Whoever changes the clean estimate by d therefore moves the landing by (1 - s/t) d.
Inpainting (put the known part in its place) and guidance without the network (a few gradient steps) are such changes,
so both are jumps again and go with every sampler, with windows and with each other.

z is [B, C, T, ...] with time in dimension 2; masks are [T], or anything that broadcasts against z.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from soundctm.denoisers import Jump
from soundctm.samplers import Noise
from soundctm.schedule import append_dims

Change = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (clean estimate z_0, level t) -> what it should be


def along_time(values: torch.Tensor, ndim: int) -> torch.Tensor:
    """Values [T] as [1, 1, T, 1, ...] with `ndim` dimensions, to weight latents frame by frame."""
    return values.reshape(1, 1, -1, *(1,) * (ndim - 3))


def steered(jump: Jump, change: Change, sigma_min: float) -> Jump:
    """The jump whose clean estimate is changed. One more call of `jump` per step, none where it lands on sigma_min."""

    def steered_jump(z: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        lowest = torch.full_like(s, sigma_min)
        landed = jump(z, t, s)
        clean = landed if bool((s <= lowest * (1 + 1e-4)).all()) else jump(z, t, lowest)
        share = append_dims(1 - s / t, z.ndim).to(z.dtype)
        return landed + share * (change(clean, t) - clean)

    return steered_jump


def keeping(known: torch.Tensor, mask: torch.Tensor) -> Change:
    """Inpainting as consistency models do it (Song et al. 2023, algorithm 4): the known part, where `mask` is 0."""
    return lambda clean, t: known + mask * (clean - known)


def blended(first: Jump, second: Jump, weight: torch.Tensor) -> Jump:
    """The mean of two jumps, `weight` in [0, 1] being the share of the second: one number, or one per frame."""
    return lambda z, t, s: torch.lerp(first(z, t, s), second(z, t, s), weight.to(z))


def blend_noise(first: torch.Tensor, second: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Between two independent standard normals, with variance 1 all the way: cos and sin of a quarter turn."""
    angle = weight.to(first) * (torch.pi / 2)
    return angle.cos() * first + angle.sin() * second


def repaint(
    jump: Jump, z: torch.Tensor, sigmas: torch.Tensor, noise: Noise, known: torch.Tensor, mask: torch.Tensor,
    repeats: int = 2,
) -> torch.Tensor:  # fmt: skip
    """Inpainting as RePaint does it (Lugmayr et al. 2022): the known part joins with the noise of its level.

    z_s = (known + s eps) where `mask` is 0, G(z_t, t, s) where it is 1, eps being one draw for the whole clip, so that
    the known part moves along a straight line. Every step but the last goes back up to t and down again until it has
    been done `repeats` times, which lets the two parts agree. noise(k) is the k-th draw.
    """
    eps, draws = noise(0), 1
    last = len(sigmas) - 2
    for k, (t, s) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        for repeat in range(1 if k == last else repeats):
            if repeat > 0:
                z = z + (t**2 - s**2).sqrt() * noise(draws)
                draws += 1
            reference = known + s * eps
            z = reference + mask * (jump(z, t, s) - reference)
    return z
