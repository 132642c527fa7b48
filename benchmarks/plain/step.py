"""The official distillation step as it is, for comparison only: what it computes and how often, in plain text.

Per step with n solver steps: 2 n + 5 text encodings and as many UNet calls (on pairs with and without text in the
solver), two backward passes through the teacher, one for the loss and one for the adaptive weight, and two through the
student. Teacher and target are in float32, each network has a text encoder of its own, and nothing is kept between
calls. Left out: what only costs the official code more (a feature difference computed twice to look for NaN) and the
dropout that it leaves on in the target's text encoder, without which two runs can be compared.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from soundctm.audioldm.library import UNet2DConditionModel
from soundctm.distillation import Draws
from soundctm.networks import feature_maps
from soundctm.schedule import SigmaSchedule

Networks = dict[str, UNet2DConditionModel]  # teacher, student and target by these names
Prompts = Sequence[Sequence[int]]  # token ids per caption, tokenised beforehand
EMPTY = (1,)  # T5's end of sequence: what "" tokenises to


@dataclass
class PlainLosses:
    """Mean losses of a step, and the balance weight that is already in `denoising`."""

    consistency: torch.Tensor
    denoising: torch.Tensor
    balance: torch.Tensor


class PlainStep:
    """Losses and backward pass of a step with the released options (feature_space, zs, full, z_0)."""

    def __init__(
        self,
        unets: Networks,
        text_encoder: nn.Module,
        schedule: SigmaSchedule,
        scales: int = 40,
        student_dtype: torch.dtype | None = None,
    ) -> None:
        """`unets` are teacher, student and target; `student_dtype` is autocast's for the student alone.

        Each UNet gets a copy of `text_encoder`.
        """
        self.unets = unets
        self.encoders = {name: copy.deepcopy(text_encoder) for name in unets}
        self.schedule, self.scales, self.student_dtype = schedule, scales, student_dtype

    def __call__(self, latents: torch.Tensor, prompts: Prompts, draws: Draws) -> PlainLosses:
        """Compute the losses for latents [B, C, T, F] and B prompts, and add to the student's gradients."""
        t, s = self.level(draws.t_index), self.level(draws.s_index)
        z_t = latents + spread(t) * draws.noise
        estimate = self.jump("student", z_t, t, s, prompts, draws.omega)
        with torch.no_grad():
            z_u = self.heun(z_t, prompts, draws)
            u = self.level(draws.t_index + draws.solver_steps)
            target = self.jump("target", z_u, u, s, prompts, draws.omega)
        consistency = self.feature_loss(estimate, target, s, prompts)

        sigma = draws.dsm_sigma
        noisy = latents + spread(sigma) * draws.dsm_noise
        denoised = self.inner("student", noisy, sigma, sigma, prompts, draws.omega)
        sigma_data = self.schedule.sigma_data
        weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
        denoising = (spread(weight) * (denoised - latents) ** 2).flatten(1).mean(1)

        last = self.unets["student"].conv_out.weight
        pull = torch.autograd.grad(consistency.mean(), last, retain_graph=True)[0].norm()
        push = torch.autograd.grad(denoising.mean(), last, retain_graph=True)[0].norm()
        balance = (pull / (push + 1e-8)).clamp(0, 1000).detach()
        denoising = denoising * balance
        (consistency.mean() + denoising.mean()).backward()
        return PlainLosses(consistency.mean().detach(), denoising.mean().detach(), balance)

    def level(self, index: torch.Tensor) -> torch.Tensor:
        """Noise level at a grid index."""
        high, low = (getattr(self.schedule, f"sigma_{end}") ** (1 / self.schedule.rho) for end in ("max", "min"))
        return (high + index / (self.scales - 1) * (low - high)) ** self.schedule.rho

    def encode(self, name: str, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states and mask of prompts padded to the longest of them."""
        ids, mask = padded(prompts, self.unets[name].device)
        with torch.no_grad():
            return self.encoders[name](input_ids=ids, attention_mask=mask.long()).last_hidden_state, mask

    def teacher_denoise(self, z: torch.Tensor, sigma: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        """D_phi(z, sigma)."""
        hidden, mask = self.encode("teacher", prompts)
        scaled = spread(self.schedule.c_in(sigma)) * z
        output = self.unets["teacher"](scaled, sigma.log() / 4, hidden, encoder_attention_mask=mask).sample
        return spread(self.schedule.c_skip(sigma)) * z + spread(self.schedule.c_out(sigma)) * output

    def guided(self, z: torch.Tensor, sigma: torch.Tensor, prompts: Prompts, omega: torch.Tensor) -> torch.Tensor:
        """Classifier-free guidance, the pair in one batch."""
        both = [*prompts, *[EMPTY] * len(prompts)]
        with_text, without = self.teacher_denoise(torch.cat([z, z]), torch.cat([sigma, sigma]), both).chunk(2)
        return without + spread(omega) * (with_text - without)

    def heun(self, z: torch.Tensor, prompts: Prompts, draws: Draws) -> torch.Tensor:
        """The teacher's way from t to u."""
        for k in range(draws.solver_steps):
            now, following = self.level(draws.t_index + k), self.level(draws.t_index + k + 1)
            slope = (z - self.guided(z, now, prompts, draws.omega)) / spread(now)
            guess = z + spread(following - now) * slope
            next_slope = (guess - self.guided(guess, following, prompts, draws.omega)) / spread(following)
            z = z + spread((following - now) / 2) * (slope + next_slope)
        return z

    def inner(
        self, name: str, z: torch.Tensor, t: torch.Tensor, s: torch.Tensor, prompts: Prompts, omega: torch.Tensor
    ) -> torch.Tensor:
        """g_theta(z, t, s), of the student or the target."""
        reduced = name == "student" and self.student_dtype is not None
        with torch.autocast(z.device.type, dtype=self.student_dtype, enabled=reduced):
            hidden, mask = self.encode(name, prompts)
            output = self.unets[name](
                spread(self.schedule.c_in(t)) * z,
                t.log() / 4,
                hidden,
                encoder_attention_mask=mask,
                added_cond_kwargs={"s": s.log() / 4, "omega": omega},
            ).sample
        return spread(self.schedule.c_skip(t)) * z + spread(self.schedule.c_out(t)) * output

    def jump(
        self, name: str, z: torch.Tensor, t: torch.Tensor, s: torch.Tensor, prompts: Prompts, omega: torch.Tensor
    ) -> torch.Tensor:
        """G_theta(z, t, s)."""
        return spread(s / t) * z + spread(1 - s / t) * self.inner(name, z, t, s, prompts, omega)

    def feature_loss(
        self, estimate: torch.Tensor, target: torch.Tensor, s: torch.Tensor, prompts: Prompts
    ) -> torch.Tensor:
        """Squared differences of the teacher's feature maps, of unit length over channels: [B]."""
        maps = []
        for z in (estimate, target):
            hidden, mask = self.encode("teacher", prompts)
            scaled = spread(self.schedule.c_in(s)) * z
            found = feature_maps(
                self.unets["teacher"], "full", scaled, s.log() / 4, hidden, encoder_attention_mask=mask
            )
            maps.append([m / ((m**2).sum(1, keepdim=True).sqrt() + 1e-10) for m in found])
        return sum(((a - b) ** 2).flatten(1).mean(1) for a, b in zip(*maps, strict=True))


def spread(values: torch.Tensor) -> torch.Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return values[:, None, None, None]


def padded(prompts: Prompts, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [n, L], padded with 0 to the longest prompt, and the mask of real tokens."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[*some, *[0] * (longest - len(some))] for some in prompts], device=device)
    mask = torch.tensor([[i < len(some) for i in range(longest)] for some in prompts], device=device)
    return ids, mask
