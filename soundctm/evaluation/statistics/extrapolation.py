"""FAD-infinity: the Frechet distance extrapolated to infinitely many generated clips (Chong and Forsyth 2020).

The distance at N clips is about FAD-infinity + slope / N. It is measured on random subsets of the generated clips and a
line fitted to the values over 1 / N, whose value at 0 is the limit. Subsets are drawn without replacement, as in that
paper's code: with replacement the line would end at the biased value of all clips. The reference set stays whole (as in
Gui et al. 2023), so the bias due to its own size remains.
"""

from __future__ import annotations

import torch

from soundctm.errors import UserError
from soundctm.evaluation.statistics.clips import Clips, two_sets
from soundctm.evaluation.statistics.frechet import Gaussian, gaussian_distance
from soundctm.evaluation.statistics.result import Score

SIZES = 15  # subset sizes, evenly spaced, the last one being all clips
SMALLEST = 0.25  # of all clips, the first size
MIN_CLIPS = 20


def fad_infinity(reference: Clips, generated: Clips, seed: int = 0) -> Score:
    """The limit; it may be negative. `details`: `slope`, `r2` of the line (trust no limit of a poor line), `seed`.

    Raises UserError below 20 generated clips.
    """
    a, b = two_sets(reference, generated)
    if b.clips < MIN_CLIPS:
        raise UserError(f"FAD-infinity needs at least {MIN_CLIPS} generated clips, got {b.clips}")
    generator = torch.Generator().manual_seed(seed)
    whole = Gaussian.of_rows(a.rows)
    inverse, distances = [], []
    for size in torch.linspace(SMALLEST * b.clips, b.clips, SIZES).round().long().unique().tolist():
        subset = b.only(torch.randperm(b.clips, generator=generator)[:size])
        inverse.append(1 / len(subset.rows))
        distances.append(gaussian_distance(whole, Gaussian.of_rows(subset.rows)))
    x, y = torch.tensor(inverse, dtype=torch.float64), torch.tensor(distances, dtype=torch.float64)
    line = torch.stack((torch.ones_like(x), x), dim=1)
    limit, slope = torch.linalg.lstsq(line, y).solution.tolist()
    spread = (y - y.mean()).square().sum().item()
    r2 = 1 - (y - limit - slope * x).square().sum().item() / spread if spread > 0 else 1.0
    return Score(limit, None, None, a.clips, b.clips, {"slope": slope, "r2": r2, "seed": seed})
