"""The second-order ODE solver that carries the teacher from one noise level to the next."""

from __future__ import annotations

import torch

from soundctm.denoisers import Denoise
from soundctm.schedule import SigmaSchedule, append_dims


def heun(denoise: Denoise, z: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Solve dz/dsigma = (z - D(z, sigma)) / sigma along given levels with Heun's method (EDM algorithm 1).

    z: [B, C, ...] at level sigmas[0]. sigmas: [n + 1] shared by the batch, or [n + 1, B] with a path per sample;
    decreasing and positive. Two calls of `denoise` per step. Returns z at level sigmas[-1].
    """
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        step = append_dims(following - sigma, z.ndim)
        slope = (z - denoise(z, sigma)) / append_dims(sigma, z.ndim)
        guess = z + step * slope
        corrected = (guess - denoise(guess, following)) / append_dims(following, z.ndim)
        z = z + step / 2 * (slope + corrected)
    return z


def sample_teacher(denoise: Denoise, z: torch.Tensor, schedule: SigmaSchedule, steps: int) -> torch.Tensor:
    """The teacher's sampler, as the official `teacher_eval` runs it: 2 * steps - 1 calls of `denoise`.

    z: noise at sigma_max, [B, C, ...]. Heun over the `steps` >= 2 levels of the grid, in float64, then one Euler step
    from sigma_min to 0, which is D itself. Returns clean latents in the dtype of z.
    """
    sigmas = schedule.grid(steps, torch.float64).to(z.device)
    return denoise(heun(denoise, z.double(), sigmas), sigmas[-1]).to(z.dtype)
