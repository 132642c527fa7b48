"""The losses of one distillation step (SoundCTM section 3, CTM algorithm 1).

From z_t the student jumps to s; its EMA copy jumps to s from the point u that the guided teacher's solver reaches from
the same z_t. Both ends must agree, and at s = t the student must stay a denoiser.

For k solver steps (Heun) a step calls the networks 2 k + 4 times: the teacher 2 k times on pairs with and without text,
the target once, the student once for both losses, the teacher once for the target's features and once for the
estimate's; the last two cannot share a call, since only one of them keeps what a backward pass needs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from soundctm import losses
from soundctm.denoisers import Denoise, StudentDenoiser, TeacherDenoiser, combine, guided
from soundctm.distillation.config import DistillationConfig
from soundctm.distillation.draws import Draws
from soundctm.distillation.gradients import gradient_at, norm_at, with_gradient
from soundctm.precision import computing_in
from soundctm.schedule import append_dims
from soundctm.solver import SOLVERS, last
from soundctm.text import TextConditioning


@dataclass
class Losses:
    """One step: what is differentiated, and its parts for the log.

    `total` (0-dim) alone carries a gradient. The parts are per sample, [B], before the factors of the configuration;
    `denoising` already carries its balance weight (0-dim).
    """

    total: torch.Tensor
    consistency: torch.Tensor
    denoising: torch.Tensor | None = None
    balance: torch.Tensor | None = None


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
        self._grids: dict[tuple[int, torch.device], torch.Tensor] = {}

    def __call__(
        self,
        latents: torch.Tensor,
        text: TextConditioning,
        empty: TextConditioning,
        draws: Draws,
        states: torch.Tensor | None = None,
    ) -> Losses:
        """Losses for clean latents [B, C, ...] with text rows and the empty prompt's rows (B each).

        `states` [B, N, C, ...] are trajectories that were solved before (see `trajectory`): z_t and z_u lie on them.
        """
        config, sigma = self.config, draws.dsm_sigma
        t, s = self.levels(draws.t_index, draws), self.levels(draws.s_index, draws)
        if states is None:
            z_t = latents + append_dims(t, latents.ndim) * draws.noise
            z_u = self.solve(z_t, text, empty, draws)
        else:
            z_t, z_u = (_at(states, index) for index in (draws.t_index, draws.path[-1]))
        target = self.target_at(z_u, text, draws)  # first: nothing of the student is in memory yet
        inputs = [(z_t, t, s)]
        if config.diffusion_training:
            noisy = latents + append_dims(sigma, latents.ndim) * draws.dsm_noise
            inputs.append((noisy, sigma, sigma))
        z, starts, ends = (torch.cat(column) for column in zip(*inputs, strict=True))
        omega = None if draws.omega is None else draws.omega.repeat(len(inputs))
        output = self.student.output(z, starts, ends, TextConditioning.cat([text] * len(inputs)), omega)

        # The losses are differentiated at detached copies of the output: see `gradients`.
        heads = [rows.detach().float().requires_grad_() for rows in output.chunk(len(inputs))]
        estimate = self.matched(self.student.jump(z_t, t, s, heads[0]), text, draws)
        parts = [self.consistency_loss(estimate, target, text, draws)]
        if config.diffusion_training:
            wanted = latents if config.dsm_loss_target == "z_0" else target
            weight = self.schedule.weight(config.diffusion_weight_schedule, sigma)
            parts.append(weight * losses.l2(combine(self.schedule, noisy, sigma, heads[1]), wanted))
        return self._weighed(output, heads, parts)

    def levels(self, index: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Noise levels [...] at indices [...] of the grid of `draws`, on the device of the indices."""
        scales = draws.scales or self.config.start_scales
        if index.is_floating_point():
            return self.schedule.at(index / (scales - 1))
        key = (scales, index.device)
        if key not in self._grids:
            self._grids = {key: self.schedule.grid(scales).to(index.device)}
        return self._grids[key][index]

    @torch.no_grad()
    def solve(self, z_t: torch.Tensor, text: TextConditioning, empty: TextConditioning, draws: Draws) -> torch.Tensor:
        """The teacher's way from t to u: `solver_steps` steps, a path per sample; not guided where omega is None."""
        denoise = self._denoise(text, empty, draws.omega)
        with self._teaching(z_t):
            return last(SOLVERS[self.config.solver](denoise, z_t, self.levels(draws.path, draws)))

    @torch.no_grad()
    def trajectory(
        self, z: torch.Tensor, text: TextConditioning, empty: TextConditioning, omega: torch.Tensor | None
    ) -> torch.Tensor:
        """The teacher's way from z at sigma_max down to sigma_min: its states at all N = start_scales levels of the
        grid, [B, N, C, ...], z itself the first."""
        sigmas = self.schedule.grid(self.config.start_scales).to(z.device)
        with self._teaching(z):
            return torch.stack([z, *SOLVERS[self.config.solver](self._denoise(text, empty, omega), z, sigmas)], dim=1)

    @torch.no_grad()
    def target_at(self, z_u: torch.Tensor, text: TextConditioning, draws: Draws) -> torch.Tensor:
        """The target [B, C, ...] at the match point: the averaged student's jump to s from where the solver ended."""
        u, s = self.levels(draws.path[-1], draws), self.levels(draws.s_index, draws)
        with self._frozen(z_u):
            return self.matched(self.target(z_u, u, s, text, draws.omega), text, draws)

    def matched(self, z_s: torch.Tensor, text: TextConditioning, draws: Draws) -> torch.Tensor:
        """z at s -> z at the match point: as it is, or carried on to sigma_min by the target."""
        if self.config.match_point == "zs":
            return z_s
        s = self.levels(draws.s_index, draws)
        with self._frozen(z_s):
            return self.target(z_s, s, torch.full_like(s, self.schedule.sigma_min), text, draws.omega)

    def consistency_loss(
        self, estimate: torch.Tensor, target: torch.Tensor, text: TextConditioning, draws: Draws
    ) -> torch.Tensor:
        """Distance of estimate and target at the match point, weighted by the level t: [B]."""
        config = self.config
        t, s = self.levels(draws.t_index, draws), self.levels(draws.s_index, draws)
        weight = self.schedule.weight(config.weight_schedule, t, s)
        level = s if config.match_point == "zs" else torch.full_like(s, self.schedule.sigma_min)
        distance = self._distance(estimate, target, level, text)
        if config.texture_weight:
            distance = distance + config.texture_weight * losses.texture_distance(estimate, target)
        return weight * distance

    def _distance(
        self, estimate: torch.Tensor, target: torch.Tensor, level: torch.Tensor, text: TextConditioning
    ) -> torch.Tensor:
        """Distance [B] of latents that both lie at noise `level` [B]."""
        config = self.config
        if config.loss_type != "feature_space":
            return losses.LATENT_LOSSES[config.loss_type](estimate, target)
        with self._teaching(estimate):
            with torch.no_grad():
                wanted = self.teacher.features(target, level, text, config.unet_mode)
            found = self.teacher.features(estimate, level, text, config.unet_mode)
            return losses.feature_distance(found, wanted, self.teacher.network.feature_axis)

    def _weighed(self, output: torch.Tensor, heads: list[torch.Tensor], parts: list[torch.Tensor]) -> Losses:
        """All of the losses from its parts [B]: consistency, and denoising if there is one.

        `heads` are detached copies of the rows of `output` that each part depends on. Without gradients (validation)
        there is no adaptive weight.
        """
        config = self.config
        factors, gradients, balance = [config.consistency_weight], [], None
        if torch.is_grad_enabled():
            with self._frozen(output):
                gradients = [gradient_at(head, part.mean()) for head, part in zip(heads, parts, strict=True)]
        consistency, *denoising = (part.detach() for part in parts)
        total = config.consistency_weight * consistency.mean()
        if denoising:
            balance = torch.ones_like(total)
            if config.apply_adaptive_weight and gradients:
                last, rows = self.student.network.last_weight, output.chunk(2)
                balance = losses.balance(*(norm_at(last, *each) for each in zip(rows, gradients, strict=True)))
            factors.append(config.denoising_weight * balance)
            total = total + factors[1] * denoising[0].mean()
        if gradients:
            pulls = [factor * gradient for factor, gradient in zip(factors, gradients, strict=True)]
            total = with_gradient(output, total, torch.cat(pulls))
        return Losses(total, consistency, balance * denoising[0] if denoising else None, balance)

    def _denoise(self, text: TextConditioning, empty: TextConditioning, omega: torch.Tensor | None) -> Denoise:
        if omega is None:
            return lambda z, sigma: self.teacher(z, sigma, text)
        return guided(self.teacher, text, empty, omega)

    def _frozen(self, z: torch.Tensor) -> AbstractContextManager:
        """The precision of teacher and target."""
        return computing_in(self.config.frozen_precision, z.device)

    def _teaching(self, z: torch.Tensor) -> AbstractContextManager:
        """The precision of the teacher; one whose weights are not float32 computes in their format throughout."""
        if self.config.teacher_weights == "float32":
            return self._frozen(z)
        return torch.autocast(z.device.type, enabled=False)


def _at(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """states [B, N, ...] at one index per sample, [B] -> [B, ...]."""
    return states[torch.arange(len(states), device=states.device), index]
