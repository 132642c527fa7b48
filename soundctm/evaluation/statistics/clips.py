"""Sets of clips as float64 matrices: what a set may look like, checked once, and which row belongs to which clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from soundctm.errors import UserError

Clips = Tensor | Sequence[Tensor]  # [N, D], a row per clip, or one [P_i, D] per clip


@dataclass(frozen=True)
class PatchRows:
    """All patches of a set: `rows` float64 [N, D], `owner` int64 [N] the clip of each row, `clips` their number."""

    rows: Tensor
    owner: Tensor
    clips: int

    def per_clip(self, values: Tensor) -> Tensor:
        """Sums over the patches of each clip, [clips], of one value per row, [N]."""
        return values.new_zeros(self.clips).index_add_(0, self.owner, values)

    def only(self, chosen: Tensor) -> PatchRows:
        """The clips numbered `chosen` (distinct), with all their patches."""
        kept = torch.isin(self.owner, chosen)
        _, owner = self.owner[kept].unique(return_inverse=True)
        return PatchRows(self.rows[kept], owner, len(chosen))


def patch_rows(clips: Clips, name: str) -> PatchRows:
    """`clips` as a matrix of at least 2 rows; `name` ("reference") is for the messages of UserError."""
    if isinstance(clips, Tensor):
        rows = finite_matrix(clips, f"{name} embeddings")
        owner = torch.arange(len(rows))
    else:
        if not clips:
            raise UserError(f"the {name} set has no clips")
        parts = [finite_matrix(clip, f"clip {i} of the {name} set") for i, clip in enumerate(clips)]
        for i, part in enumerate(parts):
            if part.shape[1] != parts[0].shape[1]:
                raise UserError(f"clip {i} of the {name} set has width {part.shape[1]}, clip 0 has {parts[0].shape[1]}")
        rows = torch.cat(parts)
        owner = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(part) for part in parts]))
    if len(rows) < 2:
        raise UserError(f"the {name} set has 1 embedding; a distance between sets needs at least 2")
    return PatchRows(rows, owner, len(clips))


def two_sets(reference: Clips, generated: Clips) -> tuple[PatchRows, PatchRows]:
    """Both sets as matrices of one width; UserError if the widths differ."""
    a, b = patch_rows(reference, "reference"), patch_rows(generated, "generated")
    if a.rows.shape[1] != b.rows.shape[1]:
        raise UserError(f"reference embeddings have width {a.rows.shape[1]}, generated ones {b.rows.shape[1]}")
    return a, b


def finite_matrix(matrix: Tensor, name: str) -> Tensor:
    """`matrix` in float64, after checking that it is [N, D] with N > 0 and finite; UserError says what is not."""
    if matrix.ndim != 2 or matrix.numel() == 0:
        raise UserError(f"{name}: expected a matrix [rows, width] that is not empty, got shape {tuple(matrix.shape)}")
    if not matrix.isfinite().all():
        raise UserError(f"{name}: row {(~matrix.isfinite()).any(1).nonzero()[0].item()} holds NaN or infinity")
    return matrix.double()


def paired_matrices(a: Tensor, b: Tensor, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    """Both in float64, after checking that they are finite matrices of one shape; row i of a belongs to row i of b."""
    a, b = finite_matrix(a, names[0]), finite_matrix(b, names[1])
    if a.shape != b.shape:
        raise UserError(f"{names[0]} {tuple(a.shape)} and {names[1]} {tuple(b.shape)} do not pair row by row")
    return a, b
