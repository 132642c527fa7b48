"""The losses of one distillation step (SoundCTM section 3, CTM algorithm 1).

From z_t the student jumps to s; its EMA copy jumps to s from the point u that the guided teacher's solver reaches from
the same z_t. Both ends must agree, and at s = t the student must stay a denoiser.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from soundctm import losses
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser, guided
from soundctm.distillation.config import DistillationConfig
from soundctm.distillation.draws import Draws
from soundctm.schedule import append_dims
from soundctm.solver import heun
from soundctm.text import TextConditioning


@dataclass
class Losses:
    """Per-sample losses [B] of one step; `denoising` already carries its balance weight (0-dim)."""

    consistency: torch.Tensor
    denoising: torch.Tensor | None
    balance: torch.Tensor | None

    @property
    def total(self) -> torch.Tensor:
        """What is differentiated: the sum of the means."""
        total = self.consistency.mean()
        return total if self.denoising is None else total + self.denoising.mean()


class Distillation:
    """Teacher, student and target, bound to a configuration; calling it gives the losses of one step."""

    def __init__(
        self,
        teacher: TeacherDenoiser,
        student: StudentDenoiser,
        target: StudentDenoiser,
        config: DistillationConfig,
    ) -> None:
        self.teacher, self.student, self.target, self.config = teacher, student, target, config
        self.schedule = student.schedule
        self.grid = self.schedule.grid(config.start_scales)

    def __call__(self, latents: torch.Tensor, text: TextConditioning, empty: TextConditioning, draws: Draws) -> Losses:
        """Losses for clean latents [B, C, ...] with text rows and the empty prompt's rows (B each)."""
        s = self.levels(draws.s_index)
        estimate, target = self.pair(latents, text, empty, draws)
        consistency = self.consistency_loss(estimate, target, draws, text)
        if not self.config.diffusion_training:
            return Losses(consistency, None, None)
        wanted = latents if self.config.dsm_loss_target == "z_0" else target
        denoising = self.denoising_loss(latents, wanted, text, draws)
        weight = torch.ones((), device=s.device)
        if self.config.apply_adaptive_weight:
            weight = losses.balance(consistency.mean(), denoising.mean(), self.student.unet.conv_out.weight)
        return Losses(consistency, denoising * weight, weight)

    def levels(self, index: torch.Tensor) -> torch.Tensor:
        """Noise levels [...] at grid indices [...], on the device of the indices."""
        self.grid = self.grid.to(index.device)
        return self.grid[index]

    def pair(
        self, latents: torch.Tensor, text: TextConditioning, empty: TextConditioning, draws: Draws
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The student's estimate (with gradient) and the target (without), both [B, C, ...] at the match point."""
        t, s = self.levels(draws.t_index), self.levels(draws.s_index)
        z_t = latents + append_dims(t, latents.ndim) * draws.noise
        estimate = self.student(z_t, t, s, text, draws.omega)
        with torch.no_grad():
            z_u = self.solve(z_t, text, empty, draws)
            u = self.levels(draws.t_index + draws.solver_steps)
            target = self.target(z_u, u, s, text, draws.omega)
        if self.config.match_point == "z0":
            end = torch.full_like(s, self.schedule.sigma_min)
            estimate = self.target(estimate, s, end, text, draws.omega)
            with torch.no_grad():
                target = self.target(target, s, end, text, draws.omega)
        return estimate, target

    @torch.no_grad()
    def solve(self, z_t: torch.Tensor, text: TextConditioning, empty: TextConditioning, draws: Draws) -> torch.Tensor:
        """The guided teacher's way from t to u: Heun over `solver_steps` levels of the grid, a path per sample."""
        steps = torch.arange(draws.solver_steps + 1, device=draws.t_index.device)
        path = self.levels(draws.t_index + steps[:, None])
        return heun(guided(self.teacher, text, empty, draws.omega), z_t, path)

    def consistency_loss(
        self, estimate: torch.Tensor, target: torch.Tensor, draws: Draws, text: TextConditioning
    ) -> torch.Tensor:
        """Distance of estimate and target, weighted by the level t: [B]."""
        t, s = self.levels(draws.t_index), self.levels(draws.s_index)
        weight = self.schedule.weight(self.config.weight_schedule, t, s)
        if self.config.loss_type != "feature_space":
            return weight * losses.LATENT_LOSSES[self.config.loss_type](estimate, target)
        level = s if self.config.match_point == "zs" else torch.full_like(s, self.schedule.sigma_min)
        depth = self.config.unet_mode
        with torch.no_grad():
            wanted = self.teacher.features(target, level, text, depth)
        return weight * losses.feature_distance(self.teacher.features(estimate, level, text, depth), wanted)

    def denoising_loss(
        self, latents: torch.Tensor, wanted: torch.Tensor, text: TextConditioning, draws: Draws
    ) -> torch.Tensor:
        """Weighted squared error of g_theta(z_0 + sigma eps, sigma, sigma) against `wanted`: [B], not yet balanced."""
        sigma = draws.dsm_sigma
        noisy = latents + append_dims(sigma, latents.ndim) * draws.dsm_noise
        estimate = self.student.estimate(noisy, sigma, sigma, text, draws.omega)
        weight = self.schedule.weight(self.config.diffusion_weight_schedule, sigma)
        return weight * losses.l2(estimate, wanted)
