"""PaSST against goldens of hear21passt, and as an extractor at a tiny size."""

from __future__ import annotations

import json

import pytest
import torch
from extractor_files import TINY_PASST, assert_behaves, passt_state, signal
from helpers import GOLDENS, close, golden

from soundctm.errors import UserError
from soundctm.evaluation.extractors.passt import INPUT, load_passt, log_mel, overlapping_windows
from soundctm.evaluation.extractors.patches import pad_to
from soundctm.evaluation.extractors.registry import available, load_extractor


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "passt-s-f128-p16-s10-ap.476-swa.pt"
    torch.save(passt_state(**TINY_PASST), path)
    return path


def assert_golden(features, size: str) -> None:
    expected = golden("extractors")
    close(features.embeddings[0], expected[f"passt.{size}.embeddings"], 5e-5)
    close(features.logits, expected[f"passt.{size}.logits"], 5e-5)


def test_front_end_is_the_official_one():
    spectrogram = log_mel(pad_to(signal(2.3, 32_000), INPUT)[None])[0]
    assert spectrogram.shape == (128, 1000)
    close(spectrogram[:, ::10], golden("extractors")["passt.spectrogram"], 2e-5)


def test_tiny_gives_the_official_logits(file):
    assert_golden(load_passt(str(file), **TINY_PASST)([signal(2.3, 32_000)])[0], "tiny")


def test_tiny(file):
    assert_behaves(load_passt(str(file), **TINY_PASST), 527)


def test_a_little_over_ten_seconds_counts_for_nothing_and_more_is_read(file):
    extractor = load_passt(str(file), **TINY_PASST)
    sound = signal(12.0, 32_000)
    first, padded, longer, last = extractor([sound[:INPUT], sound[: INPUT + 7680], sound, sound[-INPUT:]])
    close(padded.logits, first.logits, 1e-5)
    assert len(longer.embeddings) == 1
    close(longer.logits.sigmoid(), (first.logits.sigmoid() + last.logits.sigmoid()) / 2, 1e-5)
    close(longer.embeddings, (first.embeddings + last.embeddings) / 2, 1e-5)


def test_overlapping_windows_are_those_of_the_official_code(file):
    rule = json.loads((GOLDENS / "dit" / "index.json").read_text())["k_metrics"]["meta"]["passt windows"]
    for samples in (320_992, 320_000):
        count = next(value for key, value in rule.items() if key.startswith(f"{samples} samples"))
        assert len(overlapping_windows(torch.zeros(samples))) == count
    assert [len(overlapping_windows(torch.zeros(n))) for n in (1, 480_000, 480_001, 640_000)] == [1, 2, 3, 3]
    extractor = load_passt(str(file), overlapping=True, **TINY_PASST)
    sound = signal(10.031, 32_000)
    found, first, second = extractor([sound, sound[:INPUT], sound[INPUT // 2 :]])
    close(found.logits, (first.logits + second.logits) / 2, 1e-5)  # of logits, not of probabilities
    assert extractor.name == "passt_windows" and len(found.embeddings) == 1


def test_wrong_files_are_named(file):
    with pytest.raises(UserError, match="of another shape"):
        load_extractor("passt", str(file))
    state = passt_state(**TINY_PASST)
    del state["dist_token"]
    torch.save(state, file)
    with pytest.raises(UserError, match=r"passt-s-.* does not fit this model: 1 key missing \(dist_token\)"):
        load_passt(str(file), **TINY_PASST)


@pytest.mark.slow
def test_full_size_gives_the_official_logits(tmp_path):
    path = tmp_path / "p.pt"
    torch.save(passt_state(), path)
    extractor = load_extractor("passt", str(path))
    assert_golden(extractor([signal(2.3, 32_000)])[0], "full")
    entry = next(entry for entry in available() if entry.name == "passt")
    assert (extractor.name, extractor.sampling_rate, extractor.dim) == (entry.name, entry.sampling_rate, entry.dim)
