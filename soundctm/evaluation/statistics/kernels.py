"""Kernel distances between sets of embeddings: the unbiased estimate of the squared maximum mean discrepancy.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)       (Gretton et al. 2012)

KAD and KID are 0 on average between equal distributions, whatever the number of embeddings, hence may be negative. That
holds for independent embeddings, one per clip. Patches of one clip resemble each other, which adds to the means within
a set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from soundctm.errors import UserError
from soundctm.evaluation.statistics.clips import Clips, PatchRows, two_sets
from soundctm.evaluation.statistics.jackknife import jackknife_interval
from soundctm.evaluation.statistics.result import Score

Kernel = Callable[[Tensor, Tensor], Tensor]  # [N, D], [M, D] -> [N, M]

KAD_SCALE = 100.0  # Chung et al. 2025, for readable numbers
BLOCK_ROWS = 1024  # kernel values held at once: at most their square
MMD_BANDWIDTH, MMD_SCALE = 10.0, 1000.0  # Jayasumana et al. 2024 (CMMD), for embeddings of length 1
MEDIAN_ROWS = 2000  # of larger reference sets, that many random rows give the median


def kernel_audio_distance(reference: Clips, generated: Clips, level: float | None = 0.95) -> Score:
    """KAD (Chung et al. 2025): 100 MMD^2 with k(x, y) = exp(-|x - y|^2 / (2 h^2)).

    The bandwidth h, in `details`, is the median distance between two embeddings of the reference set. Raises UserError
    if that is 0. Tools that take the median of a few random pairs, or of the other set, give slightly other values.
    The interval takes the bandwidth as given. The value counts every pair of embeddings, as published; `across_clips`
    in `details` leaves out pairs of patches of one clip and thereby stays unbiased.
    """
    a, b = two_sets(reference, generated)
    bandwidth = median_distance(a.rows)
    if bandwidth <= 1e-6 * a.rows.norm(dim=1).max():  # rounding keeps equal rows a little apart
        raise UserError("most reference embeddings are equal (median distance 0), so KAD has no bandwidth")

    def gaussian(x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y).square_().mul_(-0.5 / bandwidth**2).exp_()

    within_a, within_b = _WithinSums.of(a, gaussian), _WithinSums.of(b, gaussian)
    rows_to_b, rows_to_a = _cross_sums(a.rows, b.rows, gaussian)
    cross = rows_to_b.sum() / (len(a.rows) * len(b.rows))
    value = KAD_SCALE * (within_a.mean() + within_b.mean() - 2 * cross).item()
    low = high = None
    if level is not None:
        # Mean cross kernel without each clip of one side.
        cross_a = (rows_to_b.sum() - a.per_clip(rows_to_b)) / ((len(a.rows) - within_a.patches) * len(b.rows))
        cross_b = (rows_to_a.sum() - b.per_clip(rows_to_a)) / ((len(b.rows) - within_b.patches) * len(a.rows))
        without_a = within_a.mean_without_each() + within_b.mean() - 2 * cross_a
        without_b = within_b.mean_without_each() + within_a.mean() - 2 * cross_b
        low, high = jackknife_interval(value, level, KAD_SCALE * without_a, KAD_SCALE * without_b)
    details = {"bandwidth": bandwidth, "scale": KAD_SCALE}
    if min(a.clips, b.clips) > 1:
        details["across_clips"] = KAD_SCALE * (within_a.mean_across() + within_b.mean_across() - 2 * cross).item()
    return Score(value, low, high, a.clips, b.clips, details)


def rbf_mmd(reference: Clips, generated: Clips, level: float | None = 0.95) -> Score:
    """1000 MMD^2 with k(x, y) = exp(-|x - y|^2 / (2 10^2)), biased: the pairs i = j count, so it is never below 0.

    The MMD of the official 44.1 kHz evaluation, in CLAP space. For embeddings of length 1 the kernel is nearly linear,
    so the value is about 1000 / 100 times the squared distance of the two means.
    """
    a, b = two_sets(reference, generated)

    def gaussian(x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y).square_().mul_(-0.5 / MMD_BANDWIDTH**2).exp_()

    within_a, within_b = _WithinSums.of(a, gaussian), _WithinSums.of(b, gaussian)
    rows_to_b, rows_to_a = _cross_sums(a.rows, b.rows, gaussian)
    cross = rows_to_b.sum() / (len(a.rows) * len(b.rows))
    value = max(0.0, MMD_SCALE * (within_a.biased_mean() + within_b.biased_mean() - 2 * cross).item())
    low = high = None
    if level is not None and min(a.clips, b.clips) > 1:
        cross_a = (rows_to_b.sum() - a.per_clip(rows_to_b)) / ((len(a.rows) - within_a.patches) * len(b.rows))
        cross_b = (rows_to_a.sum() - b.per_clip(rows_to_a)) / ((len(b.rows) - within_b.patches) * len(a.rows))
        without_a = within_a.biased_mean_without_each() + within_b.biased_mean() - 2 * cross_a
        without_b = within_b.biased_mean_without_each() + within_a.biased_mean() - 2 * cross_b
        low, high = jackknife_interval(value, level, MMD_SCALE * without_a, MMD_SCALE * without_b)
        low = None if low is None else max(0.0, low)
    return Score(value, low, high, a.clips, b.clips, {"bandwidth": MMD_BANDWIDTH, "scale": MMD_SCALE, "biased": True})


def kernel_inception_distance(
    reference: Clips, generated: Clips, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> Score:
    """KID (Binkowski et al. 2018): mean MMD^2 of random subsets of embeddings, k(x, y) = (x.y / D + 1)^3.

    Subsets are drawn without replacement by NumPy's legacy generator, the first from the generated, the second from the
    reference set, as the official evaluation does. Where a set has fewer embeddings, subsets are as large as that set.
    `details`: `std` over subsets, `subsets`, `subset_size`, `seed`.
    """
    a, b = two_sets(reference, generated)
    size = min(subset_size, len(a.rows), len(b.rows))
    if size == len(a.rows) == len(b.rows):
        subsets = 1  # all would be the same
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        of_b = b.rows[torch.from_numpy(random.choice(len(b.rows), size, replace=False))]
        of_a = a.rows[torch.from_numpy(random.choice(len(a.rows), size, replace=False))]
        within = sum(_cubic(x, x).sum() - _cubic_diagonal(x).sum() for x in (of_a, of_b)) / (size * (size - 1))
        values.append(within - 2 * _cubic(of_a, of_b).mean())
    values = torch.stack(values)
    details = {"std": values.std(correction=0).item(), "subsets": subsets, "subset_size": size, "seed": seed}
    return Score(values.mean().item(), None, None, a.clips, b.clips, details)


def median_distance(rows: Tensor) -> float:
    """Median distance between two different rows of [N, D]; of more than 2000 rows, between 2000 random ones."""
    if len(rows) > MEDIAN_ROWS:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:MEDIAN_ROWS]]
    first, second = torch.triu_indices(len(rows), len(rows), offset=1)
    return torch.cdist(rows, rows)[first, second].median().item()


@dataclass(frozen=True)
class _WithinSums:
    """Sums of kernel values between different rows of one set, in total and per clip."""

    n: int  # rows
    patches: Tensor  # [clips] rows of each clip
    touching: Tensor  # [clips] over i in the clip, all j != i
    inside: Tensor  # [clips] over i != j, both in the clip
    total: Tensor  # over all i != j

    @classmethod
    def of(cls, patches: PatchRows, kernel: Kernel) -> _WithinSums:
        rows, counts = patches.rows, torch.bincount(patches.owner, minlength=patches.clips)
        # The kernel of a row with itself is 1.
        sums = _cross_sums(rows, rows, kernel)[0] - 1
        inside = torch.stack([kernel(clip, clip).sum() - len(clip) for clip in rows.split(counts.tolist())])
        return cls(len(rows), counts, patches.per_clip(sums), inside, sums.sum())

    def mean(self) -> Tensor:
        """Over all pairs of different rows."""
        return self.total / (self.n * (self.n - 1))

    def biased_mean(self) -> Tensor:
        """Over all pairs of rows, those of a row with itself included."""
        return (self.total + self.n) / self.n**2

    def biased_mean_without_each(self) -> Tensor:
        """The same without the rows of each clip, [clips]."""
        left = self.n - self.patches
        return (self.total - 2 * self.touching + self.inside + left) / left**2

    def mean_across(self) -> Tensor:
        """Over all pairs of rows of different clips."""
        return (self.total - self.inside.sum()) / (self.n**2 - self.patches.square().sum())

    def mean_without_each(self) -> Tensor:
        """The same without the rows of each clip, [clips]."""
        left = self.n - self.patches
        return (self.total - 2 * self.touching + self.inside) / (left * (left - 1))


def _cross_sums(x: Tensor, y: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Sums of kernel(x_i, y_j) over j, [N], and over i, [M], a block at a time."""
    over_y, over_x = x.new_zeros(len(x)), y.new_zeros(len(y))
    for i in range(0, len(x), BLOCK_ROWS):
        for j in range(0, len(y), BLOCK_ROWS):
            values = kernel(x[i : i + BLOCK_ROWS], y[j : j + BLOCK_ROWS])
            over_y[i : i + BLOCK_ROWS] += values.sum(1)
            over_x[j : j + BLOCK_ROWS] += values.sum(0)
    return over_y, over_x


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _cubic_diagonal(x: Tensor) -> Tensor:
    return (x.square().mean(1) + 1) ** 3
