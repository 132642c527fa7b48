"""The two transformers, on diffusers' StableAudioDiTModel. One token that holds the time stands before the frames.

    teacher   token = emb(ln(sigma)/4)
    student   token = emb(ln(t)/4) + emb(ln(s)/4) + omega_features(omega)          the same layers serve t and s

Latents are [B, C, T], or [B, C, T, F] with `bands` F in the configuration; then channels and bands together are the
channels of the transformer. Text may have any number of tokens. With a single one, softmax over one key is 1, so that
cross attention adds the same vector to every frame, whatever the frames are: `bind` computes it once per prompt, and
what leads to queries and keys has no effect (`idle_parameters`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from diffusers import StableAudioDiTModel
from diffusers.configuration_utils import FrozenDict, register_to_config
from diffusers.models.attention_processor import StableAudioAttnProcessor2_0
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import nn

from soundctm.networks.base import Depth, Network, StudentNetwork, TeacherNetwork, check_depth, hooked, refuse_latents
from soundctm.text.conditioning import TextConditioning

ROTATED = 2  # a head rotates its first 1 / ROTATED channels
EPS = 1e-5  # of the norms


@dataclass(frozen=True)
class BoundText(TextConditioning):
    """Text of one token with what it adds in every block, `added` [blocks, B, 1, E]. Its parts forget that again."""

    added: torch.Tensor | None = None


@dataclass(frozen=True)
class _Added:
    """Stands in the place of a block's text: the result of its cross attention [B, 1, E]."""

    value: torch.Tensor


class _TextAttention(StableAudioAttnProcessor2_0):
    """The library's attention, except where its result is known already, or does not depend on the frames."""

    def __call__(
        self, attn: nn.Module, hidden_states: torch.Tensor, encoder_hidden_states: Any = None, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if isinstance(encoder_hidden_states, _Added):
            return encoder_hidden_states.value
        # Queries that are trained take part in every step, as several processes expect of them.
        if encoder_hidden_states.shape[1] == 1 and not (torch.is_grad_enabled() and attn.to_q.weight.requires_grad):
            return attend_to_one(attn, encoder_hidden_states)
        return super().__call__(attn, hidden_states, encoder_hidden_states, *args, **kwargs)


def attend_to_one(attn: nn.Module, text: torch.Tensor) -> torch.Tensor:
    """What the cross attention `attn` gives for text of a single token [B, 1, D], whatever asks for it: [B, 1, E]."""
    width = attn.to_q.out_features // attn.heads
    value = attn.to_v(text).unflatten(2, (-1, width))
    return attn.to_out[0](value.repeat_interleave(attn.heads // value.shape[2], dim=2).flatten(2))


class _DiT(StableAudioDiTModel, Network):
    """What both transformers share: embedding, blocks, features."""

    @register_to_config
    def __init__(
        self,
        sample_size: int = 432,
        in_channels: int = 64,
        num_layers: int = 24,
        attention_head_dim: int = 64,
        num_attention_heads: int = 24,
        num_key_value_attention_heads: int = 12,
        cross_attention_dim: int = 768,
        time_proj_dim: int = 256,
        cross_attention_input_dim: int = 768,
        bands: int | None = None,
    ) -> None:
        """As the library's, plus `bands`: how many bands the latents have beside their in_channels / bands channels."""
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            num_layers=num_layers,
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            num_key_value_attention_heads=num_key_value_attention_heads,
            out_channels=in_channels,
            cross_attention_dim=cross_attention_dim,
            time_proj_dim=time_proj_dim,
            cross_attention_input_dim=cross_attention_input_dim,
        )
        del self.global_proj  # the token holds the time alone
        follow = ("out_channels", "global_states_input_dim")  # no arguments of this class
        self._internal_dict = FrozenDict({k: v for k, v in self._internal_dict.items() if k not in follow})
        self.time_proj.weight.requires_grad_(True)
        for block in self.transformer_blocks:
            for name in ("norm1", "norm2", "norm3"):
                setattr(block, name, nn.LayerNorm(self.inner_dim, eps=EPS, bias=False))
            block.attn2.set_processor(_TextAttention())

    def forward(
        self,
        z: torch.Tensor,
        t: torch.Tensor,
        text: torch.Tensor | None,
        mask: torch.Tensor | None = None,
        s: torch.Tensor | None = None,
        omega: torch.Tensor | None = None,
        added: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """z [B, in_channels, T], t and s [B], text tokens [B, L, D] with their mask, or `added` of `BoundText`."""
        hidden, rotary = self._embedded(z, self.token(t, s, omega))
        for block, context in zip(self.transformer_blocks, self._contexts(text, added), strict=True):
            hidden = self._through(block, hidden, context, mask, rotary)
        output = self.proj_out(hidden).transpose(1, 2)[:, :, 1:]
        return output + self.postprocess_conv(output)

    def token(self, t: torch.Tensor, s: torch.Tensor | None, omega: torch.Tensor | None) -> torch.Tensor:
        """The token before the frames, [B, E]."""
        return self.time_embedding(t)

    def time_embedding(self, t: torch.Tensor) -> torch.Tensor:
        """ln(sigma)/4 [B] -> [B, E]; its features are float32 in any precision."""
        angles = 2 * torch.pi * t.float()[:, None] * self.time_proj.weight.float()
        return self.timestep_proj(torch.cat([angles.cos(), angles.sin()], dim=1).to(self.dtype))

    def features(self, z: torch.Tensor, t: torch.Tensor, text: TextConditioning, depth: Depth) -> list[torch.Tensor]:
        """Maps [B, 1 + T, E]: every block applied to the embedded input, as the official training has it.

        "half": the first half of the blocks. "chained": each on what the one before it gave. The official loss brings
        them to unit length over the tokens.
        """
        check_depth(depth)
        tokens, mask, added = self._text(text)
        hidden, rotary = self._embedded(self._flat(z), self.token(t.expand(z.shape[0]), None, None))
        blocks = list(zip(self.transformer_blocks, self._contexts(tokens, added), strict=True))
        maps = []
        for block, context in blocks[: (len(blocks) + 1) // 2] if depth == "half" else blocks:
            maps.append(self._through(block, hidden, context, mask, rotary))
            if depth == "chained":
                hidden = maps[-1]
        return maps

    def bind(self, text: TextConditioning) -> TextConditioning:
        learning = torch.is_grad_enabled() and any(p.requires_grad for p in self.transformer_blocks[0].parameters())
        cut = hasattr(self, "unshard")  # over processes: its weights are there only within a forward pass
        if isinstance(text, BoundText) or text.hidden.shape[1] != 1 or learning or cut:
            return text
        tokens = self.cross_attention_proj(text.hidden.to(self.dtype))
        added = [attend_to_one(block.attn2, tokens) for block in self.transformer_blocks]
        return BoundText(text.hidden, text.mask, torch.stack(added))

    def idle_parameters(self, one_token: bool) -> list[nn.Parameter]:
        """With text of one token: what leads to queries and keys of cross attention."""
        blocks = self.transformer_blocks if one_token else ()
        return [part.weight for block in blocks for part in (block.norm2, block.attn2.to_q, block.attn2.to_k)]

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights. (The library asks every layer in every call, with hooks or without.)"""
        return super().dtype if hooked(self) else self.last_weight.dtype

    @property
    def last_weight(self) -> nn.Parameter:
        return self.postprocess_conv.weight

    @property
    def repeated_blocks(self) -> list[nn.Module]:
        return list(self.transformer_blocks)

    def check_latents(self, shape: Sequence[int]) -> None:
        channels, bands = self.config.in_channels, self.config.bands
        wanted = [channels] if bands is None else [channels // bands, bands]
        if [shape[0], *shape[2:]] != wanted:
            refuse_latents("transformer", f"[{wanted[0]}, {', '.join(['frames', *map(str, wanted[1:])])}]", shape)

    @classmethod
    def for_text(cls, config: Mapping[str, Any], width: int) -> Self:
        return cls.from_config({**config, "cross_attention_input_dim": width})

    def predict(
        self,
        z: torch.Tensor,
        t: torch.Tensor,
        text: TextConditioning,
        s: torch.Tensor | None = None,
        omega: torch.Tensor | None = None,
    ) -> torch.Tensor:
        tokens, mask, added = self._text(text)
        rows = z.shape[0]
        s = s if s is None else s.expand(rows)
        return self._unflat(self(self._flat(z), t.expand(rows), tokens, mask, s, omega, added), z)

    def _text(self, text: TextConditioning) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Tokens, mask and what they add; a mask of nothing but real tokens is left out."""
        bound = self.bind(text)
        if isinstance(bound, BoundText):
            return None, None, bound.added.to(self.dtype)
        return text.hidden.to(self.dtype), None if text.hidden.shape[1] == 1 else text.mask, None

    def _contexts(self, text: torch.Tensor | None, added: torch.Tensor | None) -> list[Any]:
        """What each block's cross attention gets."""
        if added is not None:
            return [_Added(value) for value in added]
        return [self.cross_attention_proj(text)] * len(self.transformer_blocks)

    def _embedded(self, z: torch.Tensor, token: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        frames = self.proj_in((z + self.preprocess_conv(z)).transpose(1, 2))
        hidden = torch.cat([token[:, None].to(frames.dtype), frames], dim=1)
        return hidden, rotary_table(self.config.attention_head_dim // ROTATED, hidden.shape[1], hidden.device)

    def _through(self, block: nn.Module, hidden: torch.Tensor, context: Any, mask: Any, rotary: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, hidden, None, context, mask, rotary)
        return block(hidden, None, context, mask, rotary)

    def _flat(self, z: torch.Tensor) -> torch.Tensor:
        """[B, C, T] as it is, [B, C, T, F] as [B, C F, T]."""
        z = z.to(self.dtype)
        return z if z.ndim == 3 else z.transpose(2, 3).flatten(1, 2)

    def _unflat(self, output: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return output if z.ndim == 3 else output.unflatten(1, (z.shape[1], z.shape[3])).transpose(2, 3).contiguous()


class TeacherDiT(_DiT, TeacherNetwork):
    """F_phi: (c_in z, ln(sigma)/4, text) -> shape of z."""

    def new_student(self) -> StudentDiT:
        shape = {name: value for name, value in self.config.items() if not name.startswith("_")}
        return StudentDiT.from_config(shape).start_as(self)


class StudentDiT(_DiT, StudentNetwork):
    """F_theta: the teacher's network with s and omega in its token; a missing one is left out of the sum."""

    def token(self, t: torch.Tensor, s: torch.Tensor | None, omega: torch.Tensor | None) -> torch.Tensor:
        token = self.time_embedding(t)
        if s is not None:
            token = token + self.time_embedding(s)
        if omega is not None:
            token = token + omega_features(omega, self.inner_dim).to(token.dtype)
        return token

    @torch.no_grad()
    def start_as(self, teacher: TeacherDiT) -> Self:
        """Take every weight of the teacher. The student is not the teacher then: its token has three parts."""
        self.load_state_dict(teacher.state_dict())
        return self


def omega_features(omega: torch.Tensor, width: int) -> torch.Tensor:
    """Fixed features of the guidance scale: float32 [B] -> [B, width], sine first, of 1000 * omega.

    The angles reach 10^4, so the rounding of the frequencies counts. As officially their exponents are float32; their
    exponentials are rounded correctly, where a processor's own differ by what adds up to 5e-4 in a feature.
    """
    angles = (1000.0 * omega.float())[:, None] * _looked_up(_frequencies, width // 2, omega.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def rotary_table(width: int, length: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [length, width] of the rotary embedding; position 0 is the token."""
    return _looked_up(_rotary_table, width, length, device)


def _looked_up(compute: Callable[..., Any], *given: Any) -> Any:
    """What `compute` gives, kept from the first call on; compilers of torch trace it instead, with a warning else."""
    return compute.__wrapped__(*given) if torch.compiler.is_compiling() else compute(*given)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _frequencies(half: int, device: torch.device) -> torch.Tensor:
    rate = torch.tensor(10000.0).log() / (half - 1)
    return (torch.arange(half) * -rate).double().exp().float().to(device)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _rotary_table(width: int, length: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = get_1d_rotary_pos_embed(width, length, use_real=True, repeat_interleave_real=False)
    return cos.to(device), sin.to(device)
