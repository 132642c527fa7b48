"""The inception score (Salimans et al. 2016) of the generated clips' class probabilities.

    IS = exp mean_i KL(p_i || mean p) = exp(H(mean p) - mean_i H(p_i)),    between 1 and the number of classes

taken over 10 splits and averaged, with the official order: NumPy's legacy permutation by seed 2020. It grows with the
clips per split: only scores of as many clips are comparable.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from soundctm.errors import UserError
from soundctm.evaluation.statistics.clips import finite_matrix
from soundctm.evaluation.statistics.jackknife import jackknife_interval
from soundctm.evaluation.statistics.result import Score


def inception_score(logits: Tensor, splits: int = 10, seed: int = 2020, level: float | None = 0.95) -> Score:
    """Mean over splits of the score of logits [N, classes] (softmax); `details`: `std` over splits, `splits`, `seed`.

    Raises UserError with fewer clips than splits (the official code answers NaN). No interval below 2 clips per split.
    """
    logits = finite_matrix(logits, "generated logits")
    n = len(logits)
    if n < splits:
        raise UserError(f"an inception score over {splits} splits needs at least {splits} clips, got {n}")
    p = logits.softmax(1)[torch.from_numpy(np.random.RandomState(seed).permutation(n))]
    parts = [p[i * n // splits : (i + 1) * n // splits] for i in range(splits)]
    scores = torch.stack([_score(part.mean(0), _entropy(part).mean()) for part in parts])
    value = scores.mean().item()
    low = high = None
    if level is not None and n >= 2 * splits:
        changes = [(_without_each(part) - score) / splits for part, score in zip(parts, scores, strict=True)]
        low, high = jackknife_interval(value, level, value + torch.cat(changes))
    details = {"std": scores.std(correction=0).item(), "splits": splits, "seed": seed}
    return Score(value, low, high, 0, n, details)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)


def _score(mean: Tensor, mean_entropy: Tensor) -> Tensor:
    return (_entropy(mean) - mean_entropy).exp()


def _without_each(p: Tensor) -> Tensor:
    """Scores of the split p [m, classes] without each of its clips, [m]."""
    m = len(p)
    entropies = _entropy(p)
    means = ((p.sum(0) - p) / (m - 1)).clamp(min=0)
    return _score(means, (entropies.sum() - entropies) / (m - 1))
