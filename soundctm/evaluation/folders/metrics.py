"""The metrics that compare features: what each one needs, and its score from the features of folders.

A metric's title and its extractor's make its name: FAD-VGGish and FAD-YAMNet are different numbers. FD is what papers
call the same distance in the spaces of PANNs, OpenL3 and CLAP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import torch
from torch import Tensor

from soundctm.errors import UserError
from soundctm.evaluation.folders.features import FolderFeatures
from soundctm.evaluation.folders.pairing import Pairing
from soundctm.evaluation.statistics.divergence import kl_sigmoid, kl_softmax, kl_softmax_reverse
from soundctm.evaluation.statistics.extrapolation import fad_infinity
from soundctm.evaluation.statistics.frechet import frechet_distance
from soundctm.evaluation.statistics.inception import inception_score
from soundctm.evaluation.statistics.kernels import kernel_audio_distance, rbf_mmd
from soundctm.evaluation.statistics.result import Score
from soundctm.evaluation.statistics.similarity import clap_score

LEVEL = 0.95  # of intervals


@dataclass(frozen=True)
class Comparison:
    """What a metric looks at: the features that `extractor` gave, and what pairs the clips.

    `pairing` is that of reference and generated clips for KL, of captions and generated clips for the CLAP score, whose
    embedded `captions` are [rows, D].
    """

    extractor: str
    generated: FolderFeatures
    reference: FolderFeatures | None = None
    pairing: Pairing | None = None
    captions: Tensor | None = None
    seed: int = 0
    level: float | None = LEVEL


@dataclass(frozen=True)
class Metric:
    """`score(comparison)`, and what real clips score: of two halves of them (`halves`), of all of them, or nothing."""

    title: str
    lower_is_better: bool
    score: Callable[[Comparison], Score]
    needs_reference: bool = True
    needs_classes: bool = False
    needs_pairs: bool = False
    halves: bool = False


def _fad(c: Comparison) -> Score:
    return frechet_distance(c.reference.embeddings(c.extractor), c.generated.embeddings(c.extractor), c.level)


def _fad_infinity(c: Comparison) -> Score:
    return fad_infinity(c.reference.embeddings(c.extractor), c.generated.embeddings(c.extractor), c.seed)


def _kad(c: Comparison) -> Score:
    return kernel_audio_distance(c.reference.embeddings(c.extractor), c.generated.embeddings(c.extractor), c.level)


def _mmd(c: Comparison) -> Score:
    return rbf_mmd(c.reference.embeddings(c.extractor), c.generated.embeddings(c.extractor), c.level)


def _kl(c: Comparison) -> Score:
    return kl_softmax(*_paired_logits(c), level=c.level, seed=c.seed)


def _kl_reverse(c: Comparison) -> Score:
    return kl_softmax_reverse(*_paired_logits(c), level=c.level, seed=c.seed)


def _kl_sigmoid(c: Comparison) -> Score:
    return kl_sigmoid(*_paired_logits(c), level=c.level, seed=c.seed)


def _inception(c: Comparison) -> Score:
    return inception_score(torch.stack(c.generated.logits(c.extractor)), level=c.level)


def _clap(c: Comparison) -> Score:
    embeddings = c.generated.embeddings(c.extractor)
    audio = torch.cat([embeddings[j] for _, j in c.pairing.pairs])
    return clap_score(audio, c.captions[[i for i, _ in c.pairing.pairs]], level=c.level, seed=c.seed)


METRICS = {
    "fad": Metric("FAD", True, _fad, halves=True),
    "fd": Metric("FD", True, _fad, halves=True),
    "fad_inf": Metric("FAD-inf", True, _fad_infinity, halves=True),
    "kad": Metric("KAD", True, _kad, halves=True),
    "mmd": Metric("MMD", True, _mmd, halves=True),
    "kl": Metric("KL", True, _kl, needs_classes=True, needs_pairs=True),
    "kl_reverse": Metric("KL-reverse", True, _kl_reverse, needs_classes=True, needs_pairs=True),
    "kl_sigmoid": Metric("KL-sigmoid", True, _kl_sigmoid, needs_classes=True, needs_pairs=True),
    "is": Metric("IS", False, _inception, needs_reference=False, needs_classes=True),
    "clap": Metric("CLAP score", False, _clap, needs_reference=False, needs_pairs=True),
}


def real_score(metric: Metric, comparison: Comparison) -> tuple[Score | None, str]:
    """What real clips score, and of which: the noise floor of a distance, between two disjoint halves of the reference
    clips; the inception score of all of them. (None, "") for paired metrics, without reference, and for too few clips.
    """
    reference = comparison.reference
    if reference is None or metric.needs_pairs:
        return None, ""
    real, what = replace(comparison, generated=reference, reference=None, level=None), "all reference clips"
    if metric.halves:
        first, second = halves(reference.names, comparison.seed)
        real = replace(real, reference=reference.only(first), generated=reference.only(second))
        what = f"two disjoint halves of the reference, {len(first)} clips each"
    try:
        return metric.score(real), what
    except UserError:  # too few clips for the statistic, which is no fault of the generated ones
        return None, ""


def halves(names: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Indices of two disjoint sets of as many clips, by a hash of seed and name: adding a clip moves few others."""
    order = sorted(range(len(names)), key=lambda i: _digest(f"{seed}/{PurePosixPath(names[i]).with_suffix('')}"))
    half = len(names) // 2
    return sorted(order[:half]), sorted(order[half : 2 * half])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _paired_logits(c: Comparison) -> tuple[Tensor, Tensor]:
    reference, generated = c.reference.logits(c.extractor), c.generated.logits(c.extractor)
    rows = [(reference[i], generated[j]) for i, j in c.pairing.pairs]
    first, second = zip(*rows, strict=True)
    return torch.stack(first), torch.stack(second)
