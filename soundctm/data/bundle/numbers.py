"""Numbers of a bundle: float16, or 8 bits with a step size per block.

A block is a row along one axis: a piece of a caption token's hidden state, or a latent channel and band over time. So
a quiet band has fine steps beside a loud one. The error is uniform in half a step: the root of its mean square is about
1/440 of the block's largest number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from soundctm.errors import UserError

LEVELS = 127  # steps from zero to the largest number of a block
PRECISIONS = ("int8", "float16")


@dataclass(frozen=True)
class Numbers:
    """`values` float16 [N, ...], or int8 with `step` float16, whose axis of the blocks has length 1."""

    values: Tensor
    step: Tensor | None = None

    @staticmethod
    def of(tensor: Tensor, precision: str, block_axis: int) -> Numbers:
        """Store float `tensor` in `precision`; `block_axis` is the axis along which numbers share a step."""
        if precision == "float16":
            return Numbers(tensor.half())
        tensor = tensor.float()
        step = (tensor.abs().amax(block_axis, keepdim=True) / LEVELS).half()
        # a step that float16 rounds to zero belongs to a block of zeros
        steps = torch.where(step > 0, step, torch.ones_like(step)).float()
        return Numbers((tensor / steps).round().clamp(-LEVELS, LEVELS).to(torch.int8), step)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: int | slice | Tensor) -> Tensor:
        """The numbers of some rows, float32."""
        found = self.values[rows].float()
        return found if self.step is None else found * self.step[rows].float()

    def first(self, count: int) -> Numbers:
        """The first `count` rows."""
        return Numbers(self.values[:count], None if self.step is None else self.step[:count])

    def error(self, original: Tensor) -> float:
        """Deviation from `original` as a share of its own: root mean squares of both."""
        original = original.double()
        return float(((self[:].double() - original).square().mean() / original.square().mean()).sqrt())

    def tensors(self, name: str) -> dict[str, Tensor]:
        """As entries of a file."""
        found = {name: self.values.contiguous()}
        return found if self.step is None else found | {f"{name}.step": self.step.contiguous()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> Numbers:
        """Read back what `tensors` wrote. Raises UserError when it is not there or of another form."""
        values, step = tensors.get(name), tensors.get(f"{name}.step")
        if values is None or values.ndim != dimensions:
            raise UserError(f"{name!r} with {dimensions} dimensions is missing")
        if values.dtype == torch.int8:
            shapes = step is not None and step.ndim == dimensions and len(step) == len(values)
            if not shapes or not all(a in (1, b) for a, b in zip(step.shape, values.shape, strict=True)):
                raise UserError(f"the step sizes of {name!r} are missing or of another shape")
        elif values.dtype != torch.float16 or step is not None:
            raise UserError(f"{name!r} is {values.dtype}; it must be float16, or int8 with step sizes")
        return Numbers(values, step)
