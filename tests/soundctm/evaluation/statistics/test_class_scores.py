"""KL, inception score and CLAP score against goldens, their bounds, and their intervals."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import close, golden

from soundctm.errors import UserError
from soundctm.evaluation.statistics.bootstrap import bootstrap_interval
from soundctm.evaluation.statistics.divergence import (
    kl_sigmoid,
    kl_sigmoid_pairs,
    kl_softmax,
    kl_softmax_pairs,
    kl_softmax_reverse,
)
from soundctm.evaluation.statistics.inception import inception_score
from soundctm.evaluation.statistics.similarity import clap_score


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def golden_logits() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """The golden, then reference and generated logits, paired by row."""
    g = golden("j_metrics")
    return g, g["logits.reference"], g["logits.generated"][g["logits.reference_order"]]


def test_kl_golden():
    g, reference, generated = golden_logits()
    assert kl_softmax(reference, generated).value == pytest.approx(g["kl.softmax"].item(), rel=1e-5)
    assert kl_sigmoid(reference, generated).value == pytest.approx(g["kl.sigmoid"].item(), rel=1e-5)
    n, classes = reference.shape
    close(kl_softmax_pairs(reference, generated) / (n * classes), g["kl.per_pair"].double(), rtol=1e-5)
    softmax, sigmoid = kl_softmax(reference[1:], generated[1:]), kl_sigmoid(reference[1:], generated[1:])
    assert softmax.value == pytest.approx(g["kl.softmax_one_missing"].item(), rel=1e-5)
    assert sigmoid.value == pytest.approx(g["kl.sigmoid_one_missing"].item(), rel=1e-5)
    assert (softmax.n_reference, softmax.n_generated) == (59, 59)


def test_kl_of_the_other_direction_golden():
    g = golden("dit/k_metrics")
    reference, generated = g["kl.logits_reference"], g["kl.logits_generated"]
    assert kl_softmax_reverse(reference, generated).value == pytest.approx(g["kl.value"].item(), rel=1e-5)
    assert kl_softmax(reference, generated).value != pytest.approx(g["kl.value"].item(), rel=1e-2)


def test_kl_of_known_probabilities():
    q, p = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.25, 0.5]])
    expected = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert kl_softmax(q.log(), p.log()).value == pytest.approx(expected, abs=1e-5)
    present, absent = kl_sigmoid_pairs(torch.logit(q), torch.logit(p)), kl_sigmoid_pairs(torch.logit(p), torch.logit(q))
    assert present.item() == pytest.approx(expected, abs=1e-5)
    assert absent.item() == pytest.approx(0.25 * math.log(0.5) + 0.5 * math.log(2), abs=1e-5)


@pytest.mark.parametrize("divergence", [kl_softmax_pairs, kl_sigmoid_pairs])
def test_kl_of_identical_clips_is_zero_up_to_the_official_epsilon(divergence):
    logits = 4 * normal(0, 20, 521)
    values = divergence(logits, logits)
    assert (values <= 0).all() and (values >= -521e-6).all()


def test_kl_takes_certain_classes():
    logits = torch.tensor([[2000.0, 0.0, -2000.0]])
    assert kl_softmax(logits, logits).value == pytest.approx(0, abs=2e-6)
    assert kl_softmax(logits, -logits).value == pytest.approx(-math.log(1e-6))


def test_unpaired_logits_are_refused():
    with pytest.raises(UserError, match="do not pair row by row"):
        kl_softmax(torch.zeros(3, 4), torch.zeros(2, 4))
    with pytest.raises(UserError, match="generated logits: row 2 holds NaN"):
        kl_sigmoid(torch.zeros(3, 4), torch.tensor([0, 0, float("inf")])[:, None].expand(3, 4))


def test_inception_score_golden():
    g, *_ = golden_logits()
    for logits, suffix in ((g["logits.generated"], ""), (g["logits.generated"][:55], "_55")):
        score = inception_score(logits)
        assert score.value == pytest.approx(g[f"isc.mean{suffix}"].item(), rel=1e-5)
        assert score.details["std"] == pytest.approx(g[f"isc.std{suffix}"].item(), rel=1e-5)
        assert score.low < score.value < score.high


def test_inception_score_bounds():
    classes = 6
    # Every split of 6 clips has each class once, surely: the score is the number of classes.
    sure = 100 * torch.eye(classes)
    assert inception_score(sure, splits=1).value == pytest.approx(classes)
    assert inception_score(sure[:1].expand(20, classes)).value == pytest.approx(1)
    assert inception_score(torch.zeros(20, classes)).value == pytest.approx(1)
    for seed in range(5):
        assert 1 <= inception_score(5 * normal(seed, 40, classes)).value <= classes


def test_inception_score_with_fewer_clips_than_splits_says_so():
    with pytest.raises(UserError, match="at least 10 clips, got 7"):
        inception_score(torch.zeros(7, 5))
    assert inception_score(normal(0, 15, 5)).low is None
    assert inception_score(normal(0, 20, 5)).low is not None


def test_inception_interval_is_the_jackknife():
    logits = 3 * normal(0, 12, 7)
    score = inception_score(logits, splits=1)
    left_out = torch.tensor([inception_score(torch.cat((logits[:i], logits[i + 1 :])), 1).value for i in range(12)])
    error = (left_out.var(correction=0) * 11).sqrt().item()
    assert (score.high - score.low) / (2 * 1.959964) == pytest.approx(error, rel=1e-4)


def test_clap_score_is_the_mean_cosine():
    audio = torch.tensor([[1.0, 0.0], [2.0, 2.0], [0.0, -3.0]])
    text = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    score = clap_score(audio, text)
    assert score.value == pytest.approx((1 + 0.5**0.5 - 1) / 3)
    assert (score.n_reference, score.n_generated) == (0, 3)
    with pytest.raises(UserError, match="text embedding 1 is zero"):
        clap_score(audio, text * torch.tensor([[1.0], [0.0], [1.0]]))


def test_bootstrap_repeats_by_seed():
    values = normal(0, 50)
    assert bootstrap_interval(values, 0.95, 1) == bootstrap_interval(values, 0.95, 1)
    assert bootstrap_interval(values, 0.95, 1) != bootstrap_interval(values, 0.95, 2)
    wide, narrow = bootstrap_interval(values, 0.99, 1), bootstrap_interval(values, 0.5, 1)
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]
    assert bootstrap_interval(values[:1], 0.95, 1) == (None, None)


def test_bootstrap_covers():
    # Skewed values with mean 1: about 95 of 100 intervals hold it, a little fewer as the percentile method does.
    intervals = [bootstrap_interval(normal(seed, 60).square(), 0.95, seed) for seed in range(100)]
    assert 86 <= sum(low < 1 < high for low, high in intervals) <= 100


def test_no_interval_unless_asked_for():
    logits = normal(0, 30, 4)
    for score in (kl_softmax(logits, logits + 1, level=None), inception_score(logits, level=None)):
        assert (score.low, score.high) == (None, None)
