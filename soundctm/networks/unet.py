"""The two UNets. State-dict names are those of the official files without the `unet.` / `ctm_unet.` prefix.

In the configuration, `attention_head_dim` is the NUMBER of heads per level (diffusers' historic naming).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from audioldm.library import TimestepEmbedding, Timesteps, UNet2DConditionModel


def guidance_embedding(omega: torch.Tensor, width: int) -> torch.Tensor:
    """Fixed features of the guidance scale: [B] -> [B, width], sine first, of 1000 * omega.

    Frequencies run from 1 to 1/10000 inclusive (half - 1 in the exponent), unlike the timestep features.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) / (half - 1) * torch.arange(half, device=omega.device))
    angles = (1000.0 * omega.float())[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TeacherUNet(UNet2DConditionModel):
    """F_phi: (c_in z [B, 8, T/4, 16], ln(sigma)/4 [B], text) -> [B, 8, T/4, 16]; nothing is added to the library."""


class StudentUNet(UNet2DConditionModel):
    """F_theta: the teacher's network with two more inputs in the time embedding.

    time_embedding(t) + s_time_embedding(s) + guidance_embedding(omega); s and omega travel in `added_cond_kwargs`
    as "s" (ln(s)/4, [B]) and "omega" ([B]); a missing one is left out of the sum.
    """

    @functools.wraps(UNet2DConditionModel.__init__)  # the library reads its configuration keys off the signature
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        channels = self.config.block_out_channels[0]
        self.s_time_proj = Timesteps(channels, self.config.flip_sin_to_cos, self.config.freq_shift)
        self.s_time_embedding = TimestepEmbedding(channels, 4 * channels, act_fn=self.config.act_fn)

    def get_aug_embed(
        self, emb: torch.Tensor, encoder_hidden_states: torch.Tensor, added_cond_kwargs: dict[str, Any]
    ) -> torch.Tensor | None:
        """The library's hook for what is added to the time embedding [B, 4 C]."""
        given = added_cond_kwargs or {}
        extra = None
        if given.get("s") is not None:
            extra = self.s_time_embedding(self.s_time_proj(given["s"]).to(emb.dtype))
        if given.get("omega") is not None:
            omega = guidance_embedding(given["omega"], emb.shape[1]).to(emb.dtype)
            extra = omega if extra is None else extra + omega
        return extra

    @torch.no_grad()
    def start_as(self, teacher: UNet2DConditionModel) -> StudentUNet:
        """Take every weight of the teacher; the s-embedding's last layer becomes zero, so s changes nothing yet.

        The official student starts with a random s-embedding instead. Raises RuntimeError on other shapes.
        """
        own = {name for name in self.state_dict() if name.startswith("s_time_embedding.")}
        missing, unexpected = self.load_state_dict(teacher.state_dict(), strict=False)
        if set(missing) != own or unexpected:
            raise RuntimeError(f"the teacher does not fit the student: {sorted(set(missing) - own)}, {unexpected}")
        self.s_time_embedding.linear_2.weight.zero_()
        self.s_time_embedding.linear_2.bias.zero_()
        return self
