"""Linear layers and convolutions on whole numbers of 8 bits, for CPUs that multiply those fastest (VNNI, AMX).

    y = s_x s_w (q_x - z) * q_w + b        q_w = round(w / s_w), one step s_w per output channel, once
                                           q_x = round(x / s_x) + z in 0..255, one step s_x per clip, at every call

oneDNN computes the products; what comes in and goes out are floats. A clip's step depends on the clip alone, so it
stays the same in any batch. Layers of few channels, norms and embeddings stay floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from soundctm.errors import UserError

FEWEST = 32  # channels on either side of a layer that gains
# Little work, and all depends on it; and the last layers, by which networks tell where and in what they compute.
SPARED = (
    *("time_embedding", "s_time_embedding", "timestep_proj", "time_emb_proj"),
    *("conv_out", "preprocess_conv", "postprocess_conv"),
)


def why_not(device: torch.device) -> str | None:
    """None where layers can compute in 8 bits on `device`; else the reason."""
    if device.type != "cpu":
        return f"int8 is computed on CPUs, and this is {device.type}; take bfloat16 or float16"
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qconv2d_pointwise")):
        return "this torch has no int8 products of oneDNN"
    # Without VNNI, pairs of products are added in 16 bits and cut off.
    layer = nn.Linear(64, 32, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        found = Int8Linear(layer)(torch.ones(4, 64))
    if not torch.allclose(found, torch.full((4, 32), 64.0), rtol=1e-3):
        return "this CPU has no exact products of 8 bits (VNNI or AMX)"
    return None


class Int8Linear(nn.Module):
    """`nn.Linear` of [B, ..., K], each of the B rows with a step of its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight, self.step = rounded(layer.weight)
        self.packed = torch.ops.onednn.qlinear_prepack(weight, None)
        self.zero = torch.zeros(self.out_features, dtype=torch.int32)
        self.offset = None if layer.bias is None else layer.bias.detach().float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, ..., K] -> [B, ..., N], in the format of x."""
        return by_rows(lambda row: self._row(row.flatten(0, -2)).reshape(*row.shape[:-1], -1), x)

    def _row(self, x: torch.Tensor) -> torch.Tensor:
        q, step, zero = to_bytes(x.float().contiguous())
        return torch.ops.onednn.qlinear_pointwise(
            q, step, zero, self.packed, self.step, self.zero, self.offset, 1.0, 0, torch.float32, "none", [], ""
        )

    @property
    def weight(self) -> torch.Tensor:
        """Empty, for those that ask whether it is trained, and on which device."""
        return self.zero.new_empty(0, dtype=torch.float32)


class Int8Conv2d(nn.Module):
    """`nn.Conv2d`, or `nn.Conv1d` as one of height 1; channels last inside and outside."""

    def __init__(self, layer: nn.Conv2d | nn.Conv1d) -> None:
        super().__init__()
        self.flat_only = isinstance(layer, nn.Conv1d)
        weight, self.step = rounded(layer.weight)
        if self.flat_only:
            weight = weight.unsqueeze(2)
        self.stride, self.padding, self.dilation = (
            [first, *map(int, value)] if self.flat_only else list(map(int, value))
            for first, value in ((1, layer.stride), (0, layer.padding), (1, layer.dilation))
        )
        self.packed = torch.ops.onednn.qconv_prepack(
            weight.contiguous(), self.step, 1.0, 1, self.stride, self.padding, self.dilation, 1, None
        )
        self.zero = torch.zeros(len(weight), dtype=torch.int32)
        self.offset = None if layer.bias is None else layer.bias.detach().float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] (or [B, C, T]) -> [B, C', H', W'] (or [B, C', T']), in the format of x."""
        return self.flat(x.unsqueeze(2)).squeeze(2) if self.flat_only else self.flat(x)

    def flat(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C', H', W'] whatever the layer was."""
        return by_rows(self._row, x)

    def _row(self, x: torch.Tensor) -> torch.Tensor:
        pixels = x.float().permute(0, 2, 3, 1).contiguous()
        q, step, zero = to_bytes(pixels)
        return torch.ops.onednn.qconv2d_pointwise(
            q.permute(0, 3, 1, 2), step, zero, self.packed, self.step, self.zero, self.offset,
            self.stride, self.padding, self.dilation, 1, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip


def rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 weights of the same shape, and the step float32 [channels] of each output channel."""
    weight = weight.detach().float()
    step = (weight.abs().amax(dim=tuple(range(1, weight.ndim))) / 127).clamp_min(1e-12)
    return (weight / step.view(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8), step


def to_bytes(x: torch.Tensor) -> tuple[torch.Tensor, float, int]:
    """uint8 of a contiguous float32 tensor, the step, and the byte that stands for 0.

    The step is NaN for values that are not finite, so that they are seen in the result.
    """
    low, high = (float(value) for value in torch.aminmax(x))
    if not math.isfinite(high - low):
        return x.new_zeros(x.shape, dtype=torch.uint8), math.nan, 0
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / 255, 1e-20)
    zero = round(-low / step)
    q = torch.quantize_per_tensor(x, step, zero, torch.quint8)
    # the bytes themselves, without a copy
    return torch.empty(0, dtype=torch.uint8).set_(q.untyped_storage(), 0, q.shape, q.stride()), step, zero


def by_rows(compute: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """`compute` of each row [1, ...] of x, in the format of x. Raises UserError where gradients are asked for."""
    if torch.is_grad_enabled() and x.requires_grad:
        raise UserError("layers of int8 have no gradients, which this needs; take another number format")
    if len(x) == 1:
        return compute(x).to(x.dtype)
    return torch.cat([compute(row) for row in x.split(1)]).to(x.dtype)


def use_int8(module: nn.Module) -> int:
    """Put layers of 8 bits in the places of those of `module` that gain by it; their number."""
    done = 0
    for name, layer in list(module.named_children()):
        if name in SPARED:
            continue
        if gains(layer):
            # not by setattr, so that entries of lists are no exception
            module._modules[name] = Int8Linear(layer) if isinstance(layer, nn.Linear) else Int8Conv2d(layer)
            done += 1
        else:
            done += use_int8(layer)
    return done


def gains(layer: nn.Module) -> bool:
    """Is it a layer that computes faster in 8 bits?"""
    if isinstance(layer, nn.Linear):
        return min(layer.in_features, layer.out_features) >= FEWEST
    if not isinstance(layer, nn.Conv1d | nn.Conv2d) or layer.groups != 1 or layer.padding_mode != "zeros":
        return False
    return min(layer.in_channels, layer.out_channels) >= FEWEST and not isinstance(layer.padding, str)
