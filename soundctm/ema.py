"""Exponential moving average of weights, in a few fused kernels."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, online: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * online, parameter by parameter, in place.

    Both modules need the same parameters in the same order; buffers are copied.
    """
    ours, theirs = list(average.parameters()), [p.detach() for p in online.parameters()]
    torch._foreach_mul_(ours, decay)
    torch._foreach_add_(ours, theirs, alpha=1 - decay)
    for mine, other in zip(average.buffers(), online.buffers(), strict=True):
        mine.copy_(other)
