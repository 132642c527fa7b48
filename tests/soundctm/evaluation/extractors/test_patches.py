"""Cutting, batching and pooling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundctm.evaluation.extractors.patches import PatchExtractor, pool_logits, windows


@given(st.integers(1, 400), st.integers(20, 60))
def test_windows_cover_the_clip(length, size):
    clip = torch.arange(length)
    parts = windows(clip, size)
    if length <= 1.05 * size:
        assert len(parts) == 1 and torch.equal(parts[0], clip[:size])
    else:
        assert len(parts) == -(-length // size) and all(len(part) == size for part in parts)
        assert torch.equal(torch.cat(parts).unique(), clip)


def test_a_patch_alone_keeps_its_logits_and_more_are_averaged_in_probability():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(pool_logits(logits[:1]), logits[0])
    torch.testing.assert_close(pool_logits(logits).sigmoid(), logits.sigmoid().mean(0))
    extreme = torch.tensor([[-500.0, 500.0], [-300.0, 200.0]])
    torch.testing.assert_close(pool_logits(extreme), torch.tensor([-300.0, 200.0]), atol=1.0, rtol=0)


def test_rows_return_to_their_clips_in_small_batches():
    sizes = []

    def network(rows):
        sizes.append(rows.numel())
        return rows.mean(1, keepdim=True), rows[:, :2]

    def cut(waveform):  # rows of 2 or 3, by length
        return waveform.unfold(0, 2, 2) if len(waveform) % 2 == 0 else waveform[None, :3]

    extractor = PatchExtractor("x", 1, 1, ["a", "b"], "", cut, network, batch_elements=5)
    clips = [torch.arange(4.0), torch.arange(5.0), torch.arange(6.0) + 10, torch.full((7,), 2.0)]
    features = extractor(clips)
    assert [f.embeddings.flatten().tolist() for f in features] == [[0.5, 2.5], [1.0], [10.5, 12.5, 14.5], [2.0]]
    torch.testing.assert_close(features[1].logits, torch.tensor([0.0, 1.0]))
    assert max(sizes) <= 5


@pytest.mark.parametrize("shape", [(2, 100), (0,)])
def test_what_is_no_waveform_is_refused(shape):
    extractor = PatchExtractor("x", 1, 1, None, "", lambda w: w[None], lambda rows: (rows, None))
    with pytest.raises(ValueError, match=r"x takes waveforms \[samples\]"):
        extractor([torch.zeros(shape)])
