"""The Frechet distance: golden, closed forms, invariances; its jackknife against leaving clips out; FAD-infinity."""

from __future__ import annotations

import pytest
import torch
from helpers import golden
from hypothesis import given, settings
from hypothesis import strategies as st

from soundctm.errors import UserError
from soundctm.evaluation.statistics.extrapolation import fad_infinity
from soundctm.evaluation.statistics.frechet import frechet_distance, frechet_from_moments


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(a, b) -> float:
    return frechet_distance(a, b, level=None).value


def moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.double().mean(0), torch.cov(rows.double().T).reshape(rows.shape[1], rows.shape[1])


@pytest.mark.parametrize("name", ["60x128", "400x32", "300x128"])
def test_golden(name):
    g = golden("j_metrics")
    generated, reference = g[f"fad.{name}.a"], g[f"fad.{name}.b"]
    for ours in (
        distance(reference, generated),
        frechet_distance(reference, generated).value,
        frechet_from_moments(*moments(reference), *moments(generated)),
    ):
        assert ours == pytest.approx(g[f"fad.{name}.float64_eigen"].item(), rel=1e-7)
        for official in (f"fad.{name}.value", f"fad.{name}.swapped", f"fid.{name}.value"):
            assert ours == pytest.approx(g[official].item(), rel=1e-5)


def test_two_known_gaussians():
    # Diagonal covariances commute: |m|^2 + sum (sd_a - sd_b)^2. A rotation of both changes nothing.
    sd_a, sd_b = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 2.0, 0.0])
    mean_a, mean_b = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 0.0, 4.0])
    expected = 5.0 + 4.0 + 0.25
    assert frechet_from_moments(mean_a, sd_a.square().diag(), mean_b, sd_b.square().diag()) == pytest.approx(expected)
    turn = torch.linalg.qr(normal(0, 3, 3)).Q
    turned = []
    for mean, sd in ((mean_a, sd_a), (mean_b, sd_b)):
        turned += [turn @ mean.double(), turn @ sd.double().square().diag() @ turn.T]
    assert frechet_from_moments(*turned) == pytest.approx(expected, abs=1e-6)


def test_samples_approach_the_closed_form():
    a, b = normal(0, 20000, 4), 1.5 * normal(1, 20000, 4) + 1
    assert distance(a, b) == pytest.approx(4 * 0.5**2 + 4, rel=0.03)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 30), m=st.integers(2, 30), dim=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_properties(n, m, dim, seed):
    a, b = normal(seed, n, dim), normal(seed + 1, m, dim) * 1.3 + 0.2
    value = distance(a, b)
    assert value >= 0
    assert distance(b, a) == pytest.approx(value, rel=1e-9)
    assert frechet_from_moments(*moments(a), *moments(b)) == pytest.approx(value, rel=1e-5, abs=1e-5)
    turn = torch.linalg.qr(normal(seed + 2, dim, dim)).Q
    assert distance(a @ turn, b @ turn) == pytest.approx(value, rel=1e-9)
    assert distance(3 * a, 3 * b) == pytest.approx(9 * value, rel=1e-9)
    shift = normal(seed + 3, dim)
    assert distance(a, a) == pytest.approx(0, abs=1e-10)
    assert distance(a, a + shift) == pytest.approx(shift.square().sum().item(), rel=1e-9)
    assert distance(a, a[torch.randperm(n)]) == pytest.approx(0, abs=1e-10)


def test_singular_covariances():
    # Both sets lie in one plane of 50 dimensions: the distance is that of their two coordinates.
    plane = torch.linalg.qr(normal(0, 50, 2)).Q.T
    a, b = normal(1, 200, 2), 2 * normal(2, 30, 2) + 1
    assert distance(a @ plane, b @ plane) == pytest.approx(distance(a, b), rel=1e-9)
    # Sets in orthogonal subspaces share no variance.
    c = torch.cat((normal(3, 9, 3), torch.zeros(9, 3)), dim=1)
    d = torch.cat((torch.zeros(7, 3), normal(4, 7, 3)), dim=1)
    apart = (c.mean(0) - d.mean(0)).square().sum() + c.var(0).sum() + d.var(0).sum()
    score = frechet_distance(c, d)
    assert score.value == pytest.approx(apart.item(), rel=1e-12)
    assert score.low < score.value < score.high
    # No variance at all.
    assert frechet_distance(torch.ones(5, 3), torch.zeros(4, 3)).value == pytest.approx(3)


def test_details_tell_few_rows():
    assert frechet_distance(normal(0, 8, 8), normal(1, 50, 8)).details["singular"]
    score = frechet_distance([normal(0, 3, 8)] * 4, normal(1, 9, 8))
    assert not score.details["singular"]
    assert (score.n_reference, score.n_generated) == (4, 9)
    assert score.details["reference_rows"] == 12


def clips_of(seed: int, n: int, dim: int, scale: float = 1.0) -> list[torch.Tensor]:
    """Clips of 2 patches that have something in common."""
    return list(scale * (normal(seed, n, 1, dim) + normal(seed + 1, n, 2, dim)))


@pytest.mark.parametrize("dim", [5, 300])  # more rows than dimensions, and fewer
def test_interval_is_that_of_leaving_each_clip_out(dim):
    a, b = clips_of(0, 60, dim), clips_of(5, 50, dim, 1.5)
    score = frechet_distance(a, b)
    variance = 0.0
    for first, second in ((a, b), (b, a)):
        left_out = torch.tensor([distance(first[:i] + first[i + 1 :], second) for i in range(len(first))])
        variance += left_out.var(correction=0).item() * (len(first) - 1)
    assert (score.high - score.low) / (2 * 1.95996) == pytest.approx(variance**0.5, rel=0.15)
    assert (score.high + score.low) / 2 == pytest.approx(score.value)


def test_interval_covers_the_mean_of_other_clips():
    scores = [frechet_distance(normal(i, 40, 10), 1.4 * normal(1000 + i, 40, 10) + 0.3) for i in range(100)]
    mean = sum(score.value for score in scores) / len(scores)
    covered = sum(score.low < mean < score.high for score in scores)
    assert 90 <= covered <= 100
    half = sum(score.high - score.low for score in scores) / len(scores) / 2
    values = torch.tensor([score.value for score in scores])
    assert 0.8 * 1.96 * values.std() < half < 1.5 * 1.96 * values.std()


def test_no_interval_without_clips_to_leave_out():
    assert frechet_distance([normal(0, 9, 3)], normal(1, 9, 3)).low is None


@pytest.mark.parametrize(
    ("reference", "generated", "message"),
    [
        (torch.zeros(0, 4), torch.ones(3, 4), "reference.*not empty"),
        ([], torch.ones(3, 4), "reference set has no clips"),
        (torch.ones(3, 4), torch.ones(1, 4), "generated set has 1 embedding"),
        (torch.ones(3, 4), torch.ones(3, 5), "width 4, generated ones 5"),
        (torch.ones(3, 4), [torch.ones(2, 4), torch.ones(2, 3)], "clip 1 of the generated set has width 3"),
        (torch.ones(3, 4), torch.tensor([[1.0], [float("nan")]]), "generated.*row 1 holds NaN"),
    ],
)
def test_bad_input(reference, generated, message):
    with pytest.raises(UserError, match=message):
        frechet_distance(reference, generated)


def test_a_covariance_with_negative_eigenvalues_is_refused():
    with pytest.raises(UserError, match="negative eigenvalue"):
        frechet_from_moments(torch.zeros(2), torch.diag(torch.tensor([1.0, -0.5])), torch.zeros(2), torch.eye(2))


def test_fad_infinity_removes_the_bias_of_few_generated_clips():
    spectrum = torch.arange(1, 17).double() ** -0.5
    truth = 0.09 * spectrum.square().sum().item() + 16 * 0.3**2
    reference = normal(99, 5000, 16) * spectrum
    plain, limits = [], []
    for seed in range(12):
        generated = 1.3 * normal(seed, 100, 16) * spectrum + 0.3
        plain.append(distance(reference, generated) - truth)
        limits.append(fad_infinity(reference, generated, seed).value - truth)
    standard_error = torch.tensor(limits).std().item() / 12**0.5
    assert sum(plain) / 12 > 0.1
    assert abs(sum(limits) / 12) < max(3 * standard_error, 0.05)
    assert abs(sum(limits)) < 0.6 * sum(plain)


def test_fad_infinity_repeats_by_seed_and_reports_its_line():
    reference, generated = normal(0, 300, 40), clips_of(1, 60, 40)
    first, again, other = (fad_infinity(reference, generated, seed) for seed in (3, 3, 4))
    assert first.value == pytest.approx(again.value, rel=1e-12)
    assert first.value != pytest.approx(other.value, rel=1e-6)
    assert first.details["r2"] > 0.8
    assert first.details["slope"] > 0
    with pytest.raises(UserError, match="at least 20 generated clips, got 19"):
        fad_infinity(reference, generated[:19])
