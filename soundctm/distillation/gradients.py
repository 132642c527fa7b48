"""One backward pass through the teacher per step instead of two, with the same gradients.

A loss sees the student only through the output F of its network. So dL/dF is computed once, at a detached copy of F,
which takes the backward pass through the teacher; both the adaptive weight and the student's gradients follow from it:

    dL/dW     = (dF/dW)^T dL/dF          at the output layer W alone, for the adaptive weight
    dL/dtheta = (dF/dtheta)^T dL/dF      when the returned loss is differentiated

The teacher's activations are free before the student's backward pass begins.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from soundctm.distributed import mean_over_processes


def gradient_at(leaf: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    """dL/dF for a 0-dim loss at a detached F (`leaf`); what lies between the two is freed.

    The loss is a mean, so that its gradient is near 1 / (number of values), which float16 cannot hold; on its way back
    it is scaled by a power of two of that size, which changes no digit of a float32 result.
    """
    scale = 2.0 ** round(math.log2(leaf.numel()))
    with torch.autocast(leaf.device.type, enabled=False):  # a backward pass keeps the formats of its forward pass
        return torch.autograd.grad(loss * scale, leaf)[0] / scale


def norm_at(parameter: torch.Tensor, output: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """|dL/dW| at a parameter W, from F (`output`, whose graph stays) and dL/dF. 0-dim.

    For a weight of the last layer this goes through that layer alone. With several processes the gradients are averaged
    over them before the norm is taken, so that it is that of the whole batch and equal everywhere.
    """
    with torch.autocast(output.device.type, enabled=False):
        here = torch.autograd.grad(output, parameter, gradient.to(output.dtype), retain_graph=True)[0]
    return mean_over_processes(here).norm()


def with_gradient(output: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The value of `loss` (0-dim), whose derivative with respect to F (`output`) is `gradient`."""
    return _Known.apply(output, loss.detach(), gradient)


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gradient)
        ctx.dtype = output.dtype
        return loss.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (upstream * gradient).to(ctx.dtype), None, None
