"""Means over clips, with confidence intervals by the bootstrap (Efron 1979), percentile method, seeded."""

from __future__ import annotations

import torch
from torch import Tensor

from soundctm.evaluation.statistics.result import Score

REPLICATES = 1000


def bootstrap_interval(values: Tensor, level: float, seed: int) -> tuple[float | None, float | None]:
    """The interval of the mean of `values` [clips] that covers with probability `level`; (None, None) for one clip.

    Each replicate is the mean of as many clips, drawn with replacement. Being a percentile interval, it is as skewed
    as the values are. For statistics of whole sets see `jackknife.py`.
    """
    if len(values) < 2:
        return None, None
    generator = torch.Generator().manual_seed(seed)
    means = values[torch.randint(len(values), (REPLICATES, len(values)), generator=generator)].mean(1)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=means.dtype)
    low, high = means.quantile(tails).tolist()
    return low, high


def mean_score(values: Tensor, level: float | None, seed: int, n_reference: int = 0) -> Score:
    """Mean of one value per generated clip [clips], with its interval where `level` asks for one."""
    low, high = (None, None) if level is None else bootstrap_interval(values, level, seed)
    return Score(values.mean().item(), low, high, n_reference, len(values))
