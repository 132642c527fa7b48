"""KAD and KID against the golden and plain double sums; unbiased on equal distributions; bounded blocks."""

from __future__ import annotations

import pytest
import torch
from helpers import golden

from soundctm.errors import UserError
from soundctm.evaluation.statistics import kernels
from soundctm.evaluation.statistics.kernels import (
    kernel_audio_distance,
    kernel_inception_distance,
    median_distance,
    rbf_mmd,
)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_kad(reference: torch.Tensor, generated: torch.Tensor, bandwidth: float) -> float:
    """The definition, a pair at a time."""

    def mean(x, y, same):
        pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if not (same and i == j)]
        return sum(torch.exp(-(x[i] - y[j]).square().sum() / (2 * bandwidth**2)) for i, j in pairs).item() / len(pairs)

    a, b = reference, generated
    return 100 * (mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False))


def test_kad_is_its_definition(monkeypatch):
    a, b = normal(0, 12, 5), normal(1, 17, 5) + 0.4
    distances = sorted((a[i] - a[j]).norm().item() for i in range(12) for j in range(i))
    score = kernel_audio_distance(a, b)
    assert score.details["bandwidth"] == pytest.approx(distances[(len(distances) - 1) // 2])
    assert score.value == pytest.approx(plain_kad(a, b, score.details["bandwidth"]), rel=1e-9)
    monkeypatch.setattr(kernels, "BLOCK_ROWS", 5)
    blocked = kernel_audio_distance(a, b)
    assert (blocked.value, blocked.low, blocked.high) == pytest.approx((score.value, score.low, score.high), rel=1e-9)
    # Patches of one clip count as rows do.
    in_clips = kernel_audio_distance(list(a.split(3)), b)
    assert in_clips.value == pytest.approx(score.value, rel=1e-12)
    assert (in_clips.n_reference, in_clips.n_generated) == (4, 17)


def test_kad_is_unbiased_and_may_be_negative():
    values = torch.tensor([kernel_audio_distance(normal(i, 15, 6), normal(500 + i, 20, 6)).value for i in range(300)])
    assert abs(values.mean()) < 3 * values.std() / 300**0.5
    assert (values < 0).any() and (values > 0).any()


def test_kad_across_clips_is_unbiased_where_patches_resemble_each_other():
    def clips(seed: int) -> list[torch.Tensor]:
        return list(normal(seed, 8, 1, 6) + 0.3 * normal(seed + 1000, 8, 4, 6))

    scores = [kernel_audio_distance(clips(i), clips(500 + i)) for i in range(150)]
    plain = torch.tensor([score.value for score in scores])
    across = torch.tensor([score.details["across_clips"] for score in scores])
    assert abs(across.mean()) < 3 * across.std() / 150**0.5
    assert plain.mean() > 10 * plain.std() / 150**0.5
    one_patch_each = kernel_audio_distance(normal(0, 9, 4), normal(1, 7, 4))
    assert one_patch_each.details["across_clips"] == pytest.approx(one_patch_each.value)


def test_kad_grows_with_the_distance():
    a = normal(0, 60, 8)
    near, far = (kernel_audio_distance(a, normal(1, 60, 8) + shift) for shift in (0.3, 3.0))
    assert near.value < near.high < far.low < far.value
    # Sets that share nothing: both mean kernels within, none across.
    assert 0 < far.value < 200


def test_kad_interval_is_the_jackknife_at_fixed_bandwidth():
    a = [normal(i, 1 + i % 3, 4) for i in range(9)]
    b = [normal(50 + i, 1 + i % 2, 4) + 0.5 for i in range(8)]
    score = kernel_audio_distance(a, b)
    h = score.details["bandwidth"]
    variance = 0.0
    for first, second in ((a, b), (b, a)):
        without = [torch.cat(first[:i] + first[i + 1 :]) for i in range(len(first))]
        left_out = torch.tensor([plain_kad(rows, torch.cat(second), h) for rows in without], dtype=torch.float64)
        variance += left_out.var(correction=0).item() * (len(first) - 1)
    assert (score.high - score.low) / (2 * 1.959964) == pytest.approx(variance**0.5, rel=1e-5)


def test_kad_without_a_bandwidth_is_refused():
    with pytest.raises(UserError, match="no bandwidth"):
        kernel_audio_distance(normal(0, 1, 30).expand(9, 30), normal(1, 9, 30))


def test_median_distance_of_many_rows_is_nearly_that_of_all(monkeypatch):
    rows = normal(0, 400, 3)
    whole = median_distance(rows)
    monkeypatch.setattr(kernels, "MEDIAN_ROWS", 150)
    assert median_distance(rows) == median_distance(rows)
    assert median_distance(rows) == pytest.approx(whole, rel=0.1)


def test_kid_golden():
    g = golden("j_metrics")
    score = kernel_inception_distance(g["fad.400x32.b"], g["fad.400x32.a"], subsets=5, subset_size=100)
    assert score.value == pytest.approx(g["kid.mean"].item(), rel=1e-5)
    assert score.details["std"] == pytest.approx(g["kid.std"].item(), rel=1e-5)


def test_kid_of_small_sets_uses_what_is_there():
    score = kernel_inception_distance(normal(0, 12, 4), normal(1, 20, 4) + 1, subsets=3)
    assert (score.details["subset_size"], score.details["subsets"]) == (12, 3)
    assert score.value > 0
    whole = kernel_inception_distance(normal(0, 12, 4), normal(1, 12, 4) + 1)
    assert (whole.details["subsets"], whole.details["std"]) == (1, 0)


def test_mmd_golden():
    g = golden("dit/k_metrics")
    score = rbf_mmd(g["mmd.b"], g["mmd.a"])
    # The official code subtracts nearly equal float32 means.
    assert score.value == pytest.approx(g["mmd.value"].item(), rel=1e-5, abs=2e-4)
    assert score.low <= score.value <= score.high and (score.n_reference, score.n_generated) == (50, 40)
    assert rbf_mmd(g["mmd.a"], g["mmd.b"]).value == pytest.approx(score.value)


def test_mmd_counts_every_pair_and_leaves_out_clips_for_its_interval(monkeypatch):
    a, b = normal(0, 9, 4), normal(1, 7, 4) + 3

    def plain(x, y):
        k = lambda u, v: torch.exp(-torch.cdist(u, v).square() / 200).mean().item()  # noqa: E731
        return 1000 * (k(x, x) + k(y, y) - 2 * k(x, y))

    score = rbf_mmd(a, b)
    assert score.value == pytest.approx(plain(a, b), rel=1e-9)
    assert rbf_mmd(a, a).value == pytest.approx(0, abs=1e-9)
    seen = []
    monkeypatch.setattr(kernels, "jackknife_interval", lambda value, level, *sets: seen.extend(sets) or (0.0, 1.0))
    rbf_mmd(a, list(b.split([2, 4, 1])))
    assert seen[0].tolist() == pytest.approx([plain(torch.cat([a[:i], a[i + 1 :]]), b) for i in range(9)], rel=1e-9)
    left = [b[2:], torch.cat([b[:2], b[6:]]), b[:6]]
    assert seen[1].tolist() == pytest.approx([plain(a, rows) for rows in left], rel=1e-9)
