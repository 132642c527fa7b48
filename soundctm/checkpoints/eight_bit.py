"""Weights as int8 with one scale per output channel: a quarter of float32, half of float16 on disk.

Matrices and kernels are rounded to 127 levels either side of zero (largest error: 1/254 of a channel's largest weight);
vectors (biases, norms) are stored as float16. Only files are packed: in memory all weights are floats.
"""

from __future__ import annotations

import torch

SCALE = ".int8_scale"  # behind the name of a packed tensor


def pack(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict with every tensor of two or more dimensions as int8 and its scales [channels, 1, ...]."""
    packed = {}
    for name, value in state.items():
        if value.ndim < 2:
            packed[name] = value.half()
            continue
        largest = value.abs().amax(dim=tuple(range(1, value.ndim)), keepdim=True)
        scale = (largest / 127).clamp(min=1e-12).float()
        packed[name] = (value.float() / scale).round().to(torch.int8)
        packed[name + SCALE] = scale
    return packed


def unpack(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The floats of `pack`; a state dict without scales comes back as it is."""
    scales = {name for name in state if name.endswith(SCALE) and state.get(name.removesuffix(SCALE)) is not None}
    return {
        name: value.float() * state[name + SCALE] if name + SCALE in scales else value
        for name, value in state.items()
        if name not in scales
    }
