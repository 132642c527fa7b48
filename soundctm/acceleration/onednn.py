"""Linear layers and long self-attention through oneDNN in float32, where torch would ask MKL.

MKL is slow on processors that are not Intel's: on an AMD EPYC its float32 products reach 100 GFLOP/s per core, those of
oneDNN, which computes convolutions in torch anyway, 220. Weights stay where and what they are. With gradients, under
autocast and in other formats the library's own way is taken.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from soundctm.audioldm.library import Attention, AttnProcessor2_0

LONG = 512  # tokens from which attention is computed in pieces
PIECE = 2**21  # entries of a piece of the attention matrix: what stays in a cache


def available() -> bool:
    """Does this torch have oneDNN's products?"""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x [..., K] times weight [N, K] transposed, plus bias: float32 [..., N], without gradients."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class OneDNNLinear(nn.Linear):
    """`nn.Linear` through oneDNN. Layers become such by their class alone, and back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., K] -> [..., N]."""
        if x.dtype != torch.float32 or self.weight.dtype != torch.float32 or not plain(x, self.weight):
            return super().forward(x)
        return product(x, self.weight, self.bias)


def plain(*tensors: torch.Tensor) -> bool:
    """On a CPU, with values, and nobody asks for gradients or another format."""
    if torch.is_autocast_enabled("cpu") or any(value.device.type != "cpu" or not value.numel() for value in tensors):
        return False
    return not (torch.is_grad_enabled() and any(value.requires_grad for value in tensors))


class LongAttention(AttnProcessor2_0):
    """The library's attention, but self-attention over many tokens by pieces of the attention matrix.

    Float32 goes through oneDNN, bfloat16 through torch's products, and float32 in bfloat16 where `half` says so.
    """

    def __init__(self, half: bool = False) -> None:
        super().__init__()
        self.half = half

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        """As the library's: [B, T, C] or [B, C, H, W] -> the same shape."""
        tokens = math.prod(hidden_states.shape[2:]) if hidden_states.ndim == 4 else hidden_states.shape[1]
        own = encoder_hidden_states is None and attention_mask is None and attn.spatial_norm is None
        usual = attn.norm_q is None and attn.norm_k is None and not kwargs.get("scale")
        if not (own and usual) or tokens < LONG or not plain(hidden_states, attn.to_q.weight):
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        x = hidden_states
        if x.ndim == 4:
            x = x.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            x = attn.group_norm(x.transpose(1, 2)).transpose(1, 2)
        queries, keys, values = (
            layer(x).unflatten(2, (attn.heads, -1)).transpose(1, 2) for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        found = attend(queries, keys, values, self.half).transpose(1, 2).flatten(2)
        found = attn.to_out[1](attn.to_out[0](found))
        if hidden_states.ndim == 4:
            found = found.transpose(1, 2).reshape(hidden_states.shape)
        if attn.residual_connection:
            found = found + hidden_states
        return found / attn.rescale_output_factor


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, half: bool = False) -> torch.Tensor:
    """softmax(Q K^T / sqrt(D)) V of [B, heads, T, D] each; in bfloat16 with `half`."""
    found = torch.empty_like(queries)
    rows = max(64, PIECE // keys.shape[2])
    queries = queries * keys.shape[3] ** -0.5
    if half:
        queries, keys, values = queries.bfloat16(), keys.bfloat16(), values.bfloat16()
    times = product if queries.dtype == torch.float32 else F.linear
    for place in [(item, head) for item in range(len(keys)) for head in range(keys.shape[1])]:
        key, value = keys[place].contiguous(), values[place].T.contiguous()
        for start in range(0, queries.shape[2], rows):
            part = slice(start, start + rows)
            shares = times(queries[place][part].contiguous(), key).softmax(-1)
            found[place][part] = times(shares, value)
    return found


def use_onednn(module: nn.Module, half: bool = False) -> nn.Module:
    """Let the linear layers and the attention of `module` compute so from now on, in place."""
    if available():
        for part in module.modules():
            if type(part) is nn.Linear:
                part.__class__ = OneDNNLinear
            if isinstance(part, Attention) and type(part.processor) is AttnProcessor2_0:
                part.processor = LongAttention(half)
            elif isinstance(part, Attention) and isinstance(part.processor, LongAttention):
                part.processor.half = half
    return module


def use_library(module: nn.Module) -> nn.Module:
    """Undo `use_onednn`, in place."""
    for part in module.modules():
        if type(part) is OneDNNLinear:
            part.__class__ = nn.Linear
        if isinstance(part, Attention) and isinstance(part.processor, LongAttention):
            part.processor = AttnProcessor2_0()
    return module
