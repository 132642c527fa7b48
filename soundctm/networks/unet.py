"""The two UNets. State-dict names are those of the official files without the `unet.` / `ctm_unet.` prefix.

In the configuration, `attention_head_dim` is the NUMBER of heads per level (diffusers' historic naming).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn

from soundctm.audioldm.library import TimestepEmbedding, Timesteps, UNet2DConditionModel
from soundctm.networks.base import Depth, Network, StudentNetwork, TeacherNetwork, hooked, refuse_latents
from soundctm.networks.features import feature_maps
from soundctm.text.conditioning import TextConditioning


def guidance_embedding(omega: torch.Tensor, width: int) -> torch.Tensor:
    """Fixed features of the guidance scale: [B] -> [B, width], sine first, of 1000 * omega.

    Frequencies run from 1 to 1/10000 inclusive (half - 1 in the exponent), unlike the timestep features.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) / (half - 1) * torch.arange(half, device=omega.device))
    angles = (1000.0 * omega.float())[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class _UNet(UNet2DConditionModel, Network):
    """What both UNets say of themselves; nothing is added to the library's computation.

    s and omega travel in `added_cond_kwargs`, which a teacher does not look at.
    """

    def predict(
        self,
        z: torch.Tensor,
        t: torch.Tensor,
        text: TextConditioning,
        s: torch.Tensor | None = None,
        omega: torch.Tensor | None = None,
    ) -> torch.Tensor:
        dtype, rows = self.dtype, z.shape[0]
        return self(
            z.to(dtype),
            t.float().expand(rows),
            text.hidden.to(dtype),
            encoder_attention_mask=text.mask,
            added_cond_kwargs={"s": s if s is None else s.float().expand(rows), "omega": omega},
        ).sample

    def features(self, z: torch.Tensor, t: torch.Tensor, text: TextConditioning, depth: Depth) -> list[torch.Tensor]:
        """Maps [B, C, T, F] of the down blocks ("half"), and of mid and up blocks as well."""
        return feature_maps(
            self, depth, z.to(self.dtype), t.float(), text.hidden.to(self.dtype), encoder_attention_mask=text.mask
        )

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights. (The library asks every layer in every call, with hooks or without.)"""
        return super().dtype if hooked(self) else self.last_weight.dtype

    @property
    def last_weight(self) -> nn.Parameter:
        return self.conv_out.weight

    @property
    def repeated_blocks(self) -> list[nn.Module]:
        return [*self.down_blocks, self.mid_block, *self.up_blocks]

    def check_latents(self, shape: Sequence[int]) -> None:
        if len(shape) != 3 or shape[0] != self.config.in_channels:
            refuse_latents("UNet", f"[{self.config.in_channels}, frames, bands]", shape)

    @classmethod
    def for_text(cls, config: Mapping[str, Any], width: int) -> Self:
        return cls.from_config({**config, "cross_attention_dim": width})


class TeacherUNet(_UNet, TeacherNetwork):
    """F_phi: (c_in z [B, 8, T/4, 16], ln(sigma)/4 [B], text) -> [B, 8, T/4, 16]."""

    def new_student(self) -> StudentUNet:
        shape = {name: value for name, value in self.config.items() if not name.startswith("_")}
        return StudentUNet.from_config(shape).start_as(self)


class StudentUNet(_UNet, StudentNetwork):
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
    def start_as(self, teacher: UNet2DConditionModel) -> Self:
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
