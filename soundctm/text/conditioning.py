"""What the networks see of a batch of captions: padded hidden states and the mask of real tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class TextConditioning:
    """Hidden states `hidden` [B, L, D] with `mask` [B, L] bool, True on real tokens.

    Padded positions may hold any number: cross attention must mask them. Raises ValueError on shapes that disagree.
    """

    hidden: torch.Tensor
    mask: torch.Tensor

    def __post_init__(self) -> None:
        if self.hidden.ndim != 3 or self.mask.shape != self.hidden.shape[:2]:
            shapes = f"hidden {tuple(self.hidden.shape)} and mask {tuple(self.mask.shape)}"
            raise ValueError(f"text needs hidden [B, L, D] and mask [B, L], not {shapes}")
        if self.mask.dtype != torch.bool:
            raise ValueError(f"the text mask must be bool, not {self.mask.dtype}")

    def __len__(self) -> int:
        return self.hidden.shape[0]

    def __getitem__(self, rows: slice | Sequence[int] | torch.Tensor) -> TextConditioning:
        """The given rows (slice, list or integer or boolean tensor), in that order; the padded length stays."""
        return TextConditioning(self.hidden[rows], self.mask[rows])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TextConditioning:
        """On `device`, with hidden states of `dtype`; the mask stays bool."""
        return TextConditioning(self.hidden.to(device=device, dtype=dtype), self.mask.to(device=device))

    def repeat(self, times: int) -> TextConditioning:
        """Every row `times` times in a row: a, b -> a, a, b, b."""
        return TextConditioning(self.hidden.repeat_interleave(times, 0), self.mask.repeat_interleave(times, 0))

    @staticmethod
    def cat(parts: Sequence[TextConditioning]) -> TextConditioning:
        """All rows of `parts` in order, padded with zeros to the longest of them."""
        length = max(part.mask.shape[1] for part in parts)
        missing = [length - part.mask.shape[1] for part in parts]
        hidden = [F.pad(part.hidden, (0, 0, 0, more)) for part, more in zip(parts, missing, strict=True)]
        mask = [F.pad(part.mask, (0, more)) for part, more in zip(parts, missing, strict=True)]
        return TextConditioning(torch.cat(hidden), torch.cat(mask))

    @staticmethod
    def from_rows(rows: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> TextConditioning:
        """Stack rows (hidden [L_i, D], mask [L_i]) of different lengths, padded with zeros; at least one row."""
        hidden, mask = zip(*rows, strict=True)
        pad = torch.nn.utils.rnn.pad_sequence
        return TextConditioning(pad(hidden, batch_first=True), pad(mask, batch_first=True))
