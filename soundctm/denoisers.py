"""Denoisers: what samplers, solvers and losses see instead of a network.

    teacher   D_phi(z, sigma)   = c_skip(sigma) z + c_out(sigma) F_phi(c_in(sigma) z, sigma)
    student   g_theta(z, t, s)  = c_skip(t) z + c_out(t) F_theta(c_in(t) z, t, s, omega)
              G_theta(z, t, s)  = (s/t) z + (1 - s/t) g_theta(z, t, s)

z is [B, C, ...]; sigma, t, s are [B] or 0-dim, on the device of z; text is a TextConditioning of B rows.
State and output keep the dtype of z (float32, or float64 in the teacher's sampler); the network runs in its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from soundctm.networks import Depth, Network, StudentNetwork, TeacherNetwork
from soundctm.schedule import SigmaSchedule, append_dims, network_time
from soundctm.text import TextConditioning

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (z, sigma) -> estimate of z_0
Jump = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # (z_t, t, s) -> z_s


class Denoiser(nn.Module):
    """A network and the schedule whose scalings go around it."""

    def __init__(self, network: Network, schedule: SigmaSchedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule
        self.register_load_state_dict_pre_hook(_rename)

    def bind(self, text: TextConditioning) -> TextConditioning:
        """`text` for many calls, with what they share computed once (see `Network.bind`)."""
        return self.network.bind(text)

    def _scaled(self, z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return append_dims(self.schedule.c_in(sigma), z.ndim) * z


class TeacherDenoiser(Denoiser):
    """D_phi: the clean latents that the teacher expects behind noisy ones."""

    network: TeacherNetwork

    def forward(self, z: torch.Tensor, sigma: torch.Tensor, text: TextConditioning) -> torch.Tensor:
        """Denoised latents, shape and dtype of z (EDM eq. 7)."""
        output = self.network.predict(self._scaled(z, sigma), network_time(sigma), text)
        return combine(self.schedule, z, sigma, output)

    def features(
        self, z: torch.Tensor, sigma: torch.Tensor, text: TextConditioning, depth: Depth
    ) -> list[torch.Tensor]:
        """Feature maps at noise level sigma, in network order (see `Network.features`)."""
        return self.network.features(self._scaled(z, sigma), network_time(sigma), text, depth)


class StudentDenoiser(Denoiser):
    """G_theta and its inner estimate g_theta; calling it is the jump G_theta."""

    network: StudentNetwork

    def forward(
        self,
        z: torch.Tensor,
        t: torch.Tensor,
        s: torch.Tensor,
        text: TextConditioning,
        omega: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """z at level t -> z at s <= t along the trajectory guided by omega [B] (CTM lemma 1); z itself at s = t."""
        return self.jump(z, t, s, self.output(z, t, s, text, omega))

    def estimate(
        self,
        z: torch.Tensor,
        t: torch.Tensor,
        s: torch.Tensor,
        text: TextConditioning,
        omega: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """g_theta(z, t, s): at s = t the student's denoiser."""
        return combine(self.schedule, z, t, self.output(z, t, s, text, omega))

    def output(
        self,
        z: torch.Tensor,
        t: torch.Tensor,
        s: torch.Tensor,
        text: TextConditioning,
        omega: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F_theta: what the network itself gives, shape of z, in its own dtype."""
        return self.network.predict(self._scaled(z, t), network_time(t), text, network_time(s), omega)

    def jump(self, z: torch.Tensor, t: torch.Tensor, s: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """G_theta from the network's output at (z, t, s)."""
        ratio = append_dims(s / t, z.ndim).to(z.dtype)
        return ratio * z + (1 - ratio) * combine(self.schedule, z, t, output)


def guided(teacher: TeacherDenoiser, text: TextConditioning, empty: TextConditioning, omega: torch.Tensor) -> Denoise:
    """Classifier-free guidance: D_empty + omega (D_text - D_empty), both halves in one call; omega [B] or 0-dim."""
    pair = teacher.bind(TextConditioning.cat([text, empty]))

    def denoise(z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        sigma = sigma.expand(z.shape[0])
        with_text, without = teacher(torch.cat([z, z]), torch.cat([sigma, sigma]), pair).chunk(2)
        return without + append_dims(omega, z.ndim).to(z.dtype) * (with_text - without)

    return denoise


def guided_jump(
    student: StudentDenoiser,
    text: TextConditioning,
    empty: TextConditioning | None = None,
    omega: torch.Tensor | None = None,
    nu: float = 1.0,
) -> Jump:
    """The student's jump with its text bound: G_empty + nu (G_text - G_empty).

    omega [B] goes to both branches. At nu = 1 the empty branch cancels and is not computed; else `empty` is needed.
    """
    if nu == 1.0:
        text = student.bind(text)
        return lambda z, t, s: student(z, t, s, text, omega)
    if empty is None:
        raise ValueError(f"nu = {nu} needs the empty prompt's conditioning")
    pair = student.bind(TextConditioning.cat([text, empty]))
    omegas = None if omega is None else torch.cat([omega, omega])

    def jump(z: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        t, s = t.expand(z.shape[0]), s.expand(z.shape[0])
        both = student(torch.cat([z, z]), torch.cat([t, t]), torch.cat([s, s]), pair, omegas)
        with_text, without = both.chunk(2)
        return without + nu * (with_text - without)

    return jump


def combine(schedule: SigmaSchedule, z: torch.Tensor, sigma: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """c_skip(sigma) z + c_out(sigma) F: the clean estimate behind z from a network's output F (EDM eq. 7)."""
    skip, out = append_dims(schedule.c_skip(sigma), z.ndim), append_dims(schedule.c_out(sigma), z.ndim)
    return (skip * z + out * output).to(z.dtype)


def _rename(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Training states of before there was a second backbone call the network `unet`."""
    for key in [key for key in state if key.startswith(f"{prefix}unet.")]:
        state[f"{prefix}network.{key.removeprefix(f'{prefix}unet.')}"] = state.pop(key)
