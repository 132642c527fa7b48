"""The student's samplers: flat functions (jump, z, sigmas, noise, gamma) -> z_0.

jump(z, t, s) carries z from level t to level s. sigmas are n + 1 decreasing levels, z starts at sigmas[0], and n jumps
follow (one for `onestep`). noise(k) is the k-th standard normal draw, shaped like z; only the stochastic samplers ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from soundctm.denoisers import Jump

Noise = Callable[[int], torch.Tensor]
Sampler = Callable[..., torch.Tensor]


def deterministic(jump: Jump, z: torch.Tensor, sigmas: torch.Tensor, noise: Noise, gamma: float = 0.0) -> torch.Tensor:
    """Jump from each level to the next."""
    for t, s in zip(sigmas[:-1], sigmas[1:], strict=True):
        z = jump(z, t, s)
    return z


def gamma_multistep(jump: Jump, z: torch.Tensor, sigmas: torch.Tensor, noise: Noise, gamma: float) -> torch.Tensor:
    """Jump below each next level and add noise up to it (CTM algorithm 3).

    The landing level is sqrt(1 - gamma^2) (sigma_next - sigma_min) + sigma_min: gamma 0 is `deterministic`, gamma 1 is
    `cm_multistep`. No noise follows the last jump.
    """
    last = len(sigmas) - 2
    for k, (t, following) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        s = (1 - gamma**2) ** 0.5 * (following - sigmas[-1]) + sigmas[-1]
        z = jump(z, t, s)
        if k < last and gamma > 0:
            z = z + (following**2 - s**2).clamp(min=0).sqrt() * noise(k)
    return z


def cm_multistep(jump: Jump, z: torch.Tensor, sigmas: torch.Tensor, noise: Noise, gamma: float = 1.0) -> torch.Tensor:
    """Jump to the lowest level each time and noise again (consistency models, algorithm 1): always gamma 1."""
    return gamma_multistep(jump, z, sigmas, noise, 1.0)


def onestep(jump: Jump, z: torch.Tensor, sigmas: torch.Tensor, noise: Noise, gamma: float = 0.0) -> torch.Tensor:
    """One jump from the highest level to the lowest, however many lie between."""
    return jump(z, sigmas[0], sigmas[-1])


SAMPLERS: dict[str, Sampler] = {
    "deterministic": deterministic,
    "cm_multistep": cm_multistep,
    "gamma_multistep": gamma_multistep,
    "onestep": onestep,
}


def clip_noise(
    shape: Sequence[int], generators: Sequence[torch.Generator], like: torch.Tensor | None = None
) -> torch.Tensor:
    """Standard normal [B, *shape] in float32, row b from generators[b] alone, so that a clip ignores its batch.

    The draws are made on the generators' device (the CPU keeps them equal everywhere) and moved to that of `like`.
    """
    rows = [torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]
    stacked = torch.stack(rows)
    return stacked if like is None else stacked.to(like.device, like.dtype)
