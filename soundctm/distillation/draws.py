"""Everything random in one distillation step, drawn from one generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from soundctm.distillation.config import DistillationConfig
from soundctm.distillation.curriculum import scales_at
from soundctm.schedule import SigmaSchedule

DSM_MEAN, DSM_STD = -1.2, 1.2  # of ln(sigma) in the denoising batch (EDM table 1)


@dataclass
class Draws:
    """One step's random numbers for B samples.

    Indices count from the noisiest level of a grid of N = `scales`; in continuous time they lie between its levels.
    """

    solver_steps: int  # k, shared by the batch: the solver reaches u in k steps from t
    t_index: torch.Tensor  # [B] in 0 .. u_index, integer, or float in continuous time
    s_index: torch.Tensor  # [B] in u_index .. N - 1
    omega: torch.Tensor | None  # [B] guidance scale; None is no guidance
    noise: torch.Tensor  # like the latents: z_t = z_0 + t * noise
    dsm_sigma: torch.Tensor  # [B] levels of the denoising loss
    dsm_noise: torch.Tensor  # like the latents
    stride: float = 1  # levels per solver step
    scales: int | None = None  # None is the configuration's start_scales

    def to(self, device: torch.device | str) -> Draws:
        """The same numbers on another device."""
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(self).items()}
        return Draws(**moved)

    @property
    def path(self) -> torch.Tensor:
        """Indices [k + 1, B] of the solver's levels: t first, u last."""
        return self.t_index + self.stride * torch.arange(self.solver_steps + 1, device=self.t_index.device)[:, None]


def solver_step_probabilities(config: DistillationConfig, scales: int | None = None) -> torch.Tensor:
    """Probability of k = 1 .. num_heun_step solver steps (fewer on a smaller grid of `scales`), float64."""
    most = min(config.num_heun_step, (scales or config.num_heun_step + 1) - 1)
    steps = torch.arange(1, most + 1, dtype=torch.float64)
    weights = steps**config.heun_step_multiplier if config.heun_step_strategy == "weighted" else torch.ones_like(steps)
    return weights / weights.sum()


def denoising_levels(
    normals: torch.Tensor, uniforms: torch.Tensor, schedule: SigmaSchedule, mult: float
) -> torch.Tensor:
    """Levels of the denoising loss: ln-normal ones, then ones from the first `mult` of the grid (in fractions)."""
    return torch.cat([(DSM_MEAN + DSM_STD * normals).exp(), schedule.at(mult * uniforms)])


def draw(
    latents: torch.Tensor,
    config: DistillationConfig,
    schedule: SigmaSchedule,
    generator: torch.Generator,
    progress: float = 0.0,
) -> Draws:
    """Draw one step for latents [B, C, ...]; numbers come from the generator's device and stay there.

    `progress` is the share of the training that is done (see `curriculum`).
    """
    batch, device, scales = latents.shape[0], generator.device, scales_at(config, progress)
    rand = {"generator": generator, "device": device}
    span = _span(config, scales, generator)  # levels from t to u
    if config.time_continuous:
        k = math.ceil(span)  # steps no longer than the grid's
        t_index = (scales - 1 - span) * torch.rand(batch, **rand)
    else:
        k = span
        t_index = torch.randint(0, scales - k, (batch,), **rand)
    half = batch // 2 if config.diffusion_schedule_sampler == "halflognormal" else batch
    return Draws(
        solver_steps=k,
        t_index=t_index,
        s_index=_s_index(config, t_index + span, scales, generator),
        omega=draw_omega(config, batch, generator),
        noise=torch.randn(latents.shape, **rand),
        dsm_sigma=denoising_levels(
            torch.randn(half, **rand), torch.rand(batch - half, **rand), schedule, config.diffusion_mult
        ),
        dsm_noise=torch.randn(latents.shape, **rand),
        stride=span / k if config.time_continuous else 1,
        scales=scales,
    )


def _span(config: DistillationConfig, scales: int, generator: torch.Generator) -> float:
    """Levels from t to u: an integer in 1 .. num_heun_step, or any length up to it in continuous time."""
    most = min(config.num_heun_step, scales - 1)
    if not config.num_heun_step_random:
        return most
    if not config.time_continuous:
        p = solver_step_probabilities(config, scales).to(generator.device)
        return 1 + int(torch.multinomial(p, 1, generator=generator))
    # Density proportional to span ** multiplier, by inversion; 1 - U is in (0, 1], so the span is never 0.
    power = config.heun_step_multiplier if config.heun_step_strategy == "weighted" else 0.0
    uniform = 1 - torch.rand(1, generator=generator, device=generator.device).item()
    return most * uniform ** (1 / (power + 1))


def _s_index(
    config: DistillationConfig, u_index: torch.Tensor, scales: int, generator: torch.Generator
) -> torch.Tensor:
    last = scales - 1
    if config.sample_s_strategy == "smallest":
        return torch.full_like(u_index, last)
    uniform = torch.rand(len(u_index), generator=generator, device=generator.device)
    if config.time_continuous:
        return (u_index + uniform * (last - u_index)).clamp(max=last)
    levels = scales - u_index  # how many s may take
    return u_index + (uniform * levels).long().clamp(max=levels - 1)


def draw_omega(config: DistillationConfig, batch: int, generator: torch.Generator) -> torch.Tensor | None:
    """Guidance scales [batch] as the configuration asks for; None is no guidance."""
    if config.cfg_single_distill:
        return torch.full((batch,), config.single_target_cfg, device=generator.device)
    if not config.uniform_sampled_cfg_distill:
        return None
    return config.w_min + (config.w_max - config.w_min) * torch.rand(
        batch, generator=generator, device=generator.device
    )
