"""From noise to latents with everything that may steer the student on the way.

    base jump (text, omega, nu, negative prompt)     soundctm.denoisers.guided_jump
      over windows, where the clip is long           windowed
      blended with another caption's                 blended
      moved by a gradient through the network        through_network     (control: network)
      its clean estimate moved                       steered             (control: mean)
      its clean estimate put back where it is known  steered, keeping    (inpainting and its kin)

and a sampler runs on what comes out. With nothing to steer it is the sampler on the base jump, bit by bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from soundctm.control.control import NETWORK, NOISE, Control
from soundctm.control.guidance import mean_guidance, nearest_noise, optimise_noise, through_network
from soundctm.denoisers import Jump
from soundctm.editing.windows import windowed
from soundctm.errors import UserError
from soundctm.pipeline.callbacks import OnStep
from soundctm.samplers import SAMPLERS, clip_noise
from soundctm.schedule import SigmaSchedule
from soundctm.seeds import clip_seeds
from soundctm.steering import along_time, blend_noise, blended, keeping, repaint, steered


@dataclass(frozen=True)
class Blend:
    """Another caption, another seed, or both; `share` of the second at the start and at the end of the clip."""

    prompt: str | None = None
    seed: int | None = None
    share: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        if self.prompt is None and self.seed is None:
            raise UserError("a blend needs a second prompt, a second seed, or both")
        if not all(0 <= share <= 1 for share in self.share):
            raise UserError(f"the blend's share is {self.share[0]:g}:{self.share[1]:g}; it lies between 0 and 1")

    def weights(self, frames: int, ndim: int) -> torch.Tensor:
        """The second's share per frame, to weight latents with `ndim` dimensions."""
        return along_time(torch.linspace(*self.share, frames), ndim)


@dataclass(frozen=True)
class Steering:
    """What may steer any generation: a blend, a control, and whether the clip is a loop."""

    blend: Blend | None = None
    control: Control | None = None
    loop: bool = False


@dataclass(frozen=True)
class Known:
    """What is there before an edit: latents [B, C, T, ...], and where they shall change: mask, 1 is anew, 0 is kept.

    strength: the share of the way up to sigma_max from which it starts. repeats: RePaint's, 0 is the form of
    consistency models.
    """

    latents: torch.Tensor
    mask: torch.Tensor | None = None
    strength: float = 1.0
    repeats: int = 0

    def rows(self, count: int) -> Known:
        """The same for `count` clips."""
        return dataclasses.replace(self, latents=self.latents.expand(count, *self.latents.shape[1:]))


def sample(
    jump_of: Callable[[Sequence[str]], Jump],
    codec: Any,
    schedule: SigmaSchedule,
    prompts: Sequence[str],
    generators: Sequence[torch.Generator],
    shape: Sequence[int],
    window: int,
    steps: int,
    sampler: str,
    gamma: float | None,
    steering: Steering,
    known: Known | None = None,
    like: torch.Tensor | None = None,
    on_step: OnStep | None = None,
    initial: torch.Tensor | None = None,
) -> torch.Tensor:
    """Clean latents [B, *shape]. `jump_of` gives the base jump of captions, which takes `window` frames at a time.

    `initial` is standard normal noise [B, *shape] to begin with, instead of the generators' first draw.
    """

    def draw(k: int = 0) -> torch.Tensor:
        return clip_noise(shape, generators, like)

    noise = draw() if initial is None else initial.to(like)
    over = lambda prompts: windowed(jump_of(prompts), window, steering.loop)  # noqa: E731
    jump = over(prompts)
    mix: Callable[[torch.Tensor], torch.Tensor] = lambda noise: noise  # noqa: E731
    if steering.blend is not None:
        mix, jump = _blend(steering.blend, over, prompts, noise, jump)
        noise = mix(noise)

    strength = 1.0 if known is None else known.strength
    if strength == 0:
        return known.latents
    sigmas = schedule.grid(steps + 1, strength=strength).to(noise.device)

    def begin(noise: torch.Tensor) -> torch.Tensor:
        return sigmas[0] * noise if strength == 1 else known.latents + sigmas[0] * noise

    control = steering.control
    if control is not None:
        noise, jump = _controlled(control, jump, codec, schedule, sigmas, begin, noise, lambda: mix(draw()))
    z = begin(noise)
    mask = None if known is None or known.mask is None else known.mask.to(z)
    if mask is not None and known.repeats:
        jump = _reporting(jump, on_step)
        return repaint(jump, z, sigmas, draw, known.latents, mask, known.repeats)
    if mask is not None:
        jump = steered(jump, keeping(known.latents, mask), schedule.sigma_min)
    return SAMPLERS[sampler](_reporting(jump, on_step), z, sigmas, draw, gamma)


def _blend(
    blend: Blend,
    jump_of: Callable[[Sequence[str]], Jump],
    prompts: Sequence[str],
    noise: torch.Tensor,
    jump: Jump,
) -> tuple[Callable[[torch.Tensor], torch.Tensor], Jump]:
    """What mixes the second noise into a draw like `noise`, and the jump with the second caption's mixed in."""
    weights = blend.weights(noise.shape[2], noise.ndim).to(noise)
    mix: Callable[[torch.Tensor], torch.Tensor] = lambda noise: noise  # noqa: E731
    if blend.seed is not None:
        others = [torch.Generator().manual_seed(number) for number in clip_seeds(blend.seed, prompts)]
        second = clip_noise(noise.shape[1:], others, noise)
        mix = lambda noise: blend_noise(noise, second, weights)  # noqa: E731
    if blend.prompt is not None:
        jump = blended(jump, jump_of([blend.prompt] * len(prompts)), weights)
    return mix, jump


def _controlled(
    control: Control,
    jump: Jump,
    codec: Any,
    schedule: SigmaSchedule,
    sigmas: torch.Tensor,
    begin: Callable[[torch.Tensor], torch.Tensor],
    noise: torch.Tensor,
    draw: Callable[[], torch.Tensor],
) -> tuple[torch.Tensor, Jump]:
    """Noise and jump so that the control's objective is followed. `draw` gives further noises."""
    loss, active = control.objective.loss(codec), control.active(schedule.fraction)
    options = control.count, control.step, control.threshold
    one_step = lambda e: jump(begin(e), sigmas[0], sigmas[-1])  # noqa: E731
    noise = nearest_noise(one_step, loss, noise, draw, control.candidates) if control.candidates > 1 else noise
    if control.count == 0:
        return noise, jump
    if control.method == NOISE:
        noise = optimise_noise(one_step, loss, noise, *options, control.on_step)
    elif control.method == NETWORK:
        jump = through_network(jump, loss, schedule.sigma_min, *options, active)
    else:
        jump = steered(jump, mean_guidance(loss, *options, active), schedule.sigma_min)
    return noise, jump


def _reporting(jump: Jump, on_step: OnStep | None) -> Jump:
    """`jump` that tells of every landing."""
    if on_step is None:
        return jump
    calls = 0

    def reporting(z: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return on_step(calls - 1, t, jump(z, t, s))

    return reporting
