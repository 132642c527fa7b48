"""Everything random in one distillation step, drawn from one generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from soundctm.distillation.config import DistillationConfig
from soundctm.schedule import SigmaSchedule

DSM_MEAN, DSM_STD = -1.2, 1.2  # of ln(sigma) in the first half of the denoising batch (EDM table 1)


@dataclass
class Draws:
    """One step's random numbers for B samples; indices count from the noisiest level of the grid."""

    solver_steps: int  # k, shared by the batch: u is k levels below t
    t_index: torch.Tensor  # [B] in 0 .. N - 1 - k
    s_index: torch.Tensor  # [B] in t_index + k .. N - 1
    omega: torch.Tensor  # [B] guidance scale
    noise: torch.Tensor  # like the latents: z_t = z_0 + t * noise
    dsm_sigma: torch.Tensor  # [B] levels of the denoising loss
    dsm_noise: torch.Tensor  # like the latents

    def to(self, device: torch.device | str) -> Draws:
        """The same numbers on another device."""
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(self).items()}
        return Draws(**moved)


def solver_step_probabilities(config: DistillationConfig) -> torch.Tensor:
    """Probability of k = 1 .. num_heun_step solver steps, float64."""
    steps = torch.arange(1, config.num_heun_step + 1, dtype=torch.float64)
    weights = steps**config.heun_step_multiplier if config.heun_step_strategy == "weighted" else torch.ones_like(steps)
    return weights / weights.sum()


def denoising_levels(
    normals: torch.Tensor, uniforms: torch.Tensor, schedule: SigmaSchedule, mult: float
) -> torch.Tensor:
    """Levels of the denoising loss: ln-normal ones, then ones from the first `mult` of the grid (in fractions)."""
    return torch.cat([(DSM_MEAN + DSM_STD * normals).exp(), schedule.at(mult * uniforms)])


def draw(
    latents: torch.Tensor, config: DistillationConfig, schedule: SigmaSchedule, generator: torch.Generator
) -> Draws:
    """Draw one step for latents [B, C, ...]; numbers come from the generator's device and stay there."""
    batch, device, scales = latents.shape[0], generator.device, config.start_scales
    rand = {"generator": generator, "device": device}
    k = config.num_heun_step
    if config.num_heun_step_random:
        k = 1 + int(torch.multinomial(solver_step_probabilities(config).to(device), 1, generator=generator))
    t_index = torch.randint(0, scales - k, (batch,), **rand)
    span = scales - (t_index + k)  # how many levels s may take
    s_index = t_index + k + (torch.rand(batch, **rand) * span).long().clamp(max=span - 1)
    half = batch // 2
    return Draws(
        solver_steps=k,
        t_index=t_index,
        s_index=s_index,
        omega=config.w_min + (config.w_max - config.w_min) * torch.rand(batch, **rand),
        noise=torch.randn(latents.shape, **rand),
        dsm_sigma=denoising_levels(
            torch.randn(half, **rand), torch.rand(batch - half, **rand), schedule, config.diffusion_mult
        ),
        dsm_noise=torch.randn(latents.shape, **rand),
    )
