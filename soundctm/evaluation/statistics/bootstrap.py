"""Confidence intervals of means over clips by the bootstrap (Efron 1979), percentile method, seeded."""

from __future__ import annotations

import torch
from torch import Tensor

REPLICATES = 1000


def bootstrap_interval(values: Tensor, level: float, seed: int) -> tuple[float | None, float | None]:
    """The interval of the mean of `values` [clips] that covers with probability `level`; (None, None) for one clip.

    Each replicate is the mean of as many clips, drawn with replacement. Being a percentile interval, it is as skewed
    as the values are. For statistics of whole sets see `jackknife.py`.
    """
    if len(values) < 2:
        return None, None
    generator = torch.Generator().manual_seed(seed)
    draws = (torch.randint(len(values), (len(values),), generator=generator) for _ in range(REPLICATES))
    means = torch.stack([values[drawn].mean() for drawn in draws])
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=means.dtype)
    low, high = means.quantile(tails).tolist()
    return low, high
