"""The second-order ODE solvers that carry the teacher from one noise level to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator

import torch

from soundctm.denoisers import Denoise
from soundctm.pipeline.callbacks import OnStep
from soundctm.precision import widest
from soundctm.schedule import SigmaSchedule, append_dims


def heun(denoise: Denoise, z: torch.Tensor, sigmas: torch.Tensor) -> Generator[torch.Tensor, torch.Tensor | None, None]:
    """Solve dz/dsigma = (z - D(z, sigma)) / sigma along given levels with Heun's method (EDM algorithm 1).

    z: [B, C, ...] at level sigmas[0]. sigmas: [n + 1] shared by the batch, or [n + 1, B] with a path per sample;
    decreasing and positive. Two calls of `denoise` per step. Yields the n states at levels sigmas[1:], each computed
    when it is asked for; `last` gives the end. A state that is sent takes the place of the one that was yielded.
    """
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        z, _ = _heun_step(denoise, z, sigma, following)
        changed = yield z
        z = z if changed is None else changed


def multistep(denoise: Denoise, z: torch.Tensor, sigmas: torch.Tensor) -> Iterator[torch.Tensor]:
    """The same equation, arguments and states as `heun`, with n + 1 calls of `denoise` for n steps instead of 2 n.

    The first step is Heun's. Every further one takes D as linear in lambda = -ln(sigma), through its values at the last
    two levels, and integrates exactly (DPM-Solver++ 2M, Lu et al. 2022, algorithm 2), which is of second order as well.
    """
    z, before = _heun_step(denoise, z, sigmas[0], sigmas[1])
    yield z
    for past, sigma, following in zip(sigmas[:-2], sigmas[1:-1], sigmas[2:], strict=True):
        now = denoise(z, sigma)
        ahead = (sigma / following).log() / (past / sigma).log() / 2
        mean = now + append_dims(ahead, z.ndim) * (now - before)
        ratio = append_dims(following / sigma, z.ndim)
        z, before = ratio * z + (1 - ratio) * mean, now
        yield z


def last(states: Iterator[torch.Tensor]) -> torch.Tensor:
    """The last of the states of a solver, with no more than one in memory."""
    return deque(states, maxlen=1).pop()


def sample_teacher(
    denoise: Denoise,
    z: torch.Tensor,
    schedule: SigmaSchedule,
    steps: int,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """The teacher's sampler, as the official `teacher_eval` runs it: 2 * steps - 1 calls of `denoise`.

    z: noise at sigma_max, [B, C, ...]. Heun over the `steps` >= 2 levels of the grid, in float64 where the device has
    it, then one Euler step from sigma_min to 0, which is D itself. Returns clean latents in the dtype of z; on_step
    sees the `steps` states, of which they are the last, in that dtype, and may change them.
    """
    wide = widest(z.device)
    sigmas = schedule.grid(steps, torch.float64).to(wide).to(z.device)
    states, state = heun(denoise, z.to(wide), sigmas), None
    for k in range(steps - 1):
        state = reached = states.send(state)
        if on_step is not None:
            seen = reached.to(z.dtype)
            given = on_step(k, sigmas[k], seen)
            state = reached if given is seen else given.to(wide)
    clean = denoise(state, sigmas[-1]).to(z.dtype)
    return clean if on_step is None else on_step(steps - 1, sigmas[-1], clean)


def _heun_step(
    denoise: Denoise, z: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """z at level `following`, and D(z, sigma)."""
    denoised = denoise(z, sigma)
    step = append_dims(following - sigma, z.ndim)
    slope = (z - denoised) / append_dims(sigma, z.ndim)
    guess = z + step * slope
    corrected = (guess - denoise(guess, following)) / append_dims(following, z.ndim)
    return z + step / 2 * (slope + corrected), denoised


SOLVERS: dict[str, Callable[[Denoise, torch.Tensor, torch.Tensor], Iterator[torch.Tensor]]] = {
    "heun": heun,
    "multistep": multistep,
}
