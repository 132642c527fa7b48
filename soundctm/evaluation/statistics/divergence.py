"""KL divergence between the class probabilities of paired clips, by the official convention.

Per pair, with p of the generated and q of the reference clip,

    KL(reference || generated) = sum_c q_c log(q_c / (p_c + 1e-6))

The 1e-6 stands beside the generated probabilities only: equal clips give slightly less than 0, by at most
1e-6 per class. The sigmoid variant takes each class for itself and, as the official one does, leaves out the terms of
the class's absence, (1 - q) log((1 - q) / (1 - p)), so it can be well below 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from soundctm.evaluation.statistics.bootstrap import mean_score
from soundctm.evaluation.statistics.clips import paired_matrices
from soundctm.evaluation.statistics.result import Score

EPSILON = 1e-6


def kl_softmax_pairs(reference_logits: Tensor, generated_logits: Tensor) -> Tensor:
    """KL of each pair, float64 [N], from logits [N, classes], as probabilities of one class per clip."""
    q, p = paired_matrices(reference_logits, generated_logits, ("reference logits", "generated logits"))
    return _divergence(q.softmax(1), p.softmax(1))


def kl_sigmoid_pairs(reference_logits: Tensor, generated_logits: Tensor) -> Tensor:
    """KL of each pair, float64 [N], from logits [N, classes], as probabilities of each class being present."""
    q, p = paired_matrices(reference_logits, generated_logits, ("reference logits", "generated logits"))
    return _divergence(q.sigmoid(), p.sigmoid())


def kl_softmax(reference_logits: Tensor, generated_logits: Tensor, level: float | None = 0.95, seed: int = 0) -> Score:
    """Mean of `kl_softmax_pairs`."""
    pairs = kl_softmax_pairs(reference_logits, generated_logits)
    return mean_score(pairs, level, seed, len(pairs))


def kl_softmax_reverse(
    reference_logits: Tensor, generated_logits: Tensor, level: float | None = 0.95, seed: int = 0
) -> Score:
    """Mean over pairs of the other direction, KL(generated || reference), as the official 44.1 kHz evaluation has it:

    sum_c p_c log(p_c / (q_c + 1e-6)). It punishes sounds that the reference has not, `kl_softmax` those that lack.
    """
    return kl_softmax(generated_logits, reference_logits, level, seed)


def kl_sigmoid(reference_logits: Tensor, generated_logits: Tensor, level: float | None = 0.95, seed: int = 0) -> Score:
    """Mean of `kl_sigmoid_pairs`."""
    pairs = kl_sigmoid_pairs(reference_logits, generated_logits)
    return mean_score(pairs, level, seed, len(pairs))


def _divergence(q: Tensor, p: Tensor) -> Tensor:
    return (torch.special.xlogy(q, q) - q * (p + EPSILON).log()).sum(1)
