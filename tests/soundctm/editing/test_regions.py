"""Regions of text, and masks that are exactly zero where nothing may change."""

import pytest
import torch

from soundctm.editing import Region, parse_bands, parse_regions
from soundctm.editing.regions import check_regions, frame_mask, paste, sample_mask
from soundctm.errors import UserError


def test_reading():
    assert parse_regions("1.2-1.6, 2-2.40") == (Region(1.2, 1.6), Region(2.0, 2.4))
    assert parse_regions("") == ()
    assert [(b.low, b.high) for b in parse_bands("4000-8000")] == [(4000, 8000)]
    for text in ("1.2", "a-b", "1--2"):
        with pytest.raises(UserError, match="no region"):
            parse_regions(text)
    with pytest.raises(UserError, match="no"):
        parse_bands("8000-4000")


def test_checks():
    check_regions([Region(0, 1)], 1.0)
    for region, words in (
        (Region(0.5, 1.1), "outside"),
        (Region(0.5, 0.5), "before"),
        (Region(0, float("inf")), "fin"),
    ):
        with pytest.raises(UserError, match=words):
            check_regions([region], 1.0)


def test_masks():
    mask = sample_mask([Region(0.5, 0.6)], 1000, 1000, 0.02)
    assert (mask[500:601] == 1).all() and (mask[:481] == 0).all() and (mask[620:] == 0).all()
    assert (mask[481:500].diff() > 0).all()
    frames = frame_mask([Region(0.5, 0.6)], 25, 0.04, soft=0.0)
    assert frames.nonzero().flatten().tolist() == [11 + k for k in range(1, 4)] or frames[12:15].min() == 1
    assert frames[:11].max() == 0 and frames[17:].max() == 0


def test_pasting_keeps_bits():
    kept, made = torch.randn(1000), torch.randn(1000)
    mask = sample_mask([Region(0.5, 0.6)], 1000, 1000)
    out = paste(kept, made, mask)
    assert torch.equal(out[mask == 0], kept[mask == 0])
    assert torch.allclose(out[mask == 1], made[mask == 1], atol=1e-6)
