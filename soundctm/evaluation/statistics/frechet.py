"""The Frechet distance between Gaussians fitted to two sets of embeddings (FAD, FID; Heusel et al. 2017).

    d^2 = |m_a - m_b|^2 + tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2

With factors A = F_a^T F_a and B = F_b^T F_b (the centred embeddings over sqrt(N - 1), or their QR factor where N > D),
the last trace is the sum of the singular values of F_a F_b^T. No covariance is formed and no root of a product taken,
so it stays exact where covariances are singular (fewer embeddings than dimensions) and nothing can turn complex.

The jackknife costs little more, because the derivative of that trace in the weights of embeddings follows from the same
decomposition F_a F_b^T = U S V^T: a centred embedding x of a has x^T T x / (2 (N - 1)), with T = F_b^T V S^-1 V^T F_b
the linear map that transports the Gaussian of a to that of b.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from soundctm.errors import UserError
from soundctm.evaluation.statistics.clips import Clips, PatchRows, two_sets
from soundctm.evaluation.statistics.jackknife import jackknife_interval
from soundctm.evaluation.statistics.result import Score


@dataclass(frozen=True)
class Gaussian:
    """Mean [D] and factor [R, D] of a covariance factor^T factor, with R as small as the data allow."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of_rows(cls, rows: Tensor) -> Gaussian:
        """The Gaussian with the mean and covariance (N - 1) of rows [N, D], N > 1."""
        mean = rows.mean(0)
        factor = (rows - mean) / (len(rows) - 1) ** 0.5
        return cls(mean, torch.linalg.qr(factor, mode="r").R if len(rows) > rows.shape[1] else factor)

    @classmethod
    def of_moments(cls, mean: Tensor, covariance: Tensor) -> Gaussian:
        """From a mean [D] and a positive semi-definite covariance [D, D]."""
        variances, axes = torch.linalg.eigh(covariance.double())
        noise = len(variances) * torch.finfo(torch.float64).eps * variances.abs().max()
        if variances.min() < -1e-6 * variances.abs().max():
            raise UserError(f"a covariance has the negative eigenvalue {variances.min():.3g}: not a covariance")
        # Rounding leaves tiny eigenvalues where there are none; their roots would not be tiny.
        return cls(mean.double(), variances.where(variances > noise, 0).sqrt()[:, None] * axes.T)


def squared_distance(a: Gaussian, b: Gaussian, shared: Tensor) -> float:
    """d^2 from the singular values `shared` of a.factor b.factor^T; 0 where rounding would make it negative."""
    spread = a.factor.square().sum() + b.factor.square().sum() - 2 * shared.sum()
    return max(0.0, ((a.mean - b.mean).square().sum() + spread).item())


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """d^2 between two Gaussians of one dimension."""
    return squared_distance(a, b, torch.linalg.svdvals(a.factor @ b.factor.T))


def frechet_from_moments(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """d^2 from means [D] and covariances [D, D]. Raises UserError on a covariance with negative eigenvalues."""
    return gaussian_distance(Gaussian.of_moments(mean_a, covariance_a), Gaussian.of_moments(mean_b, covariance_b))


def frechet_distance(reference: Clips, generated: Clips, level: float | None = 0.95) -> Score:
    """d^2 between the Gaussians of two sets of embeddings, symmetric in the two, at least 0.

    Biased upwards by about 1/N: only values from as many embeddings are comparable. `details` tell the numbers of
    embeddings (`reference_rows`, `generated_rows`), their `dimension`, and `singular`: whether a set has no more
    embeddings than dimensions, so that its covariance cannot have full rank.
    """
    a, b = two_sets(reference, generated)
    of_a, of_b = Gaussian.of_rows(a.rows), Gaussian.of_rows(b.rows)
    cross = of_a.factor @ of_b.factor.T
    low = high = None
    if level is None:
        value = squared_distance(of_a, of_b, torch.linalg.svdvals(cross))
    else:
        left, shared, right = torch.linalg.svd(cross, full_matrices=False)
        value = squared_distance(of_a, of_b, shared)
        without_a = _without_each_clip(value, a, of_a, of_b, right.T, shared)
        without_b = _without_each_clip(value, b, of_b, of_a, left, shared)
        low, high = jackknife_interval(value, level, without_a, without_b)
        low = None if low is None else max(0.0, low)
    rows, dimension = (len(a.rows), len(b.rows)), a.rows.shape[1]
    details = {"reference_rows": rows[0], "generated_rows": rows[1], "dimension": dimension}
    return Score(value, low, high, a.clips, b.clips, details | {"singular": min(rows) <= dimension})


def _without_each_clip(
    value: float, patches: PatchRows, own: Gaussian, other: Gaussian, vectors: Tensor, shared: Tensor
) -> Tensor:
    """The distance without each clip of a set, [clips], to first order in the weights of its patches.

    `shared` [K] are the singular values of own.factor other.factor^T, `vectors` [R, K] its vectors on the other side.
    First order takes the lengths of clips as given: leaving out long and short clips in earnest would change the number
    of patches, hence the bias, and take that for spread.
    """
    n = len(patches.rows)
    centred = patches.rows - own.mean
    kept = shared > len(shared) * torch.finfo(shared.dtype).eps * shared.max()
    transport_root = other.factor.T @ vectors[:, kept] / shared[kept].sqrt()  # [D, kept], T = root root^T
    mean_part = 2 * centred @ (own.mean - other.mean) / n
    trace_part = (centred.square().sum(1) - own.factor.square().sum()) / (n - 1)
    shared_part = ((centred @ transport_root).square().sum(1) - shared.sum()) / (n - 1)
    per_weight = patches.per_clip(mean_part + trace_part - shared_part)
    return value - (per_weight - per_weight.mean()) * patches.clips / (patches.clips - 1)
