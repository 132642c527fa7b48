"""Confidence intervals of statistics of whole sets by the jackknife over clips.

The bootstrap draws clips with replacement, and copies of a clip narrow a set: resampled Frechet distances lie far above
the one they resample and spread too much. For 50 against 50 clips of one Gaussian, in 64 dimensions of variances 1 / k,
the distance is 1.92 with a standard deviation of 0.104. The bootstrap made that 0.21, shifted by 1.1, the jackknife
0.145. Between different Gaussians the jackknife was 16 % too wide at 20 clips and 5 % at 200.

The jackknife never sees a clip twice. From the values theta_(i) of the statistic without clip i of a set of C clips,

    variance = (C - 1) / C sum_i (theta_(i) - mean theta_(.))^2       (Efron and Stein 1981)

summed over the independent sets; the interval is value -+ z sqrt(variance). It says where the same statistic of as many
other clips would lie. It does not remove a bias that depends on the number of clips, which the Frechet distance and the
inception score have.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_CLIPS = 3  # of a set, below which there is no interval


def jackknife_interval(value: float, level: float, *left_out: Tensor) -> tuple[float | None, float | None]:
    """The interval around `value` that covers with probability `level` (0 to 1); (None, None) if a set is too small.

    `left_out` holds one tensor per set, [clips]: the statistic without each clip, exactly or to first order.
    """
    if min(len(values) for values in left_out) < MIN_CLIPS:
        return None, None
    variance = sum(values.var(correction=0) * (len(values) - 1) for values in left_out)
    z = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64))
    half = (z * variance.sqrt()).item()
    return value - half, value + half
