"""TextConditioning: rows, padding, shape checks."""

import pytest
import torch

from soundctm.text import TextConditioning


def conditioning(batch: int, length: int, seed: int = 0) -> TextConditioning:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(batch, length, 4, generator=generator)
    lengths = torch.randint(1, length + 1, (batch, 1), generator=generator)
    return TextConditioning(hidden, torch.arange(length)[None] < lengths)


def test_rows_by_slice_list_and_tensor():
    text = conditioning(4, 5)
    for rows in (slice(1, 3), [1, 2], torch.tensor([1, 2]), torch.tensor([False, True, True, False])):
        assert torch.equal(text[rows].hidden, text.hidden[1:3])
        assert torch.equal(text[rows].mask, text.mask[1:3])
    assert len(text[[0, 0, 3]]) == 3


def test_cat_pads_to_the_longer_with_masked_zeros():
    short, long = conditioning(2, 3), conditioning(1, 6, seed=1)
    both = TextConditioning.cat([short, long])
    assert both.hidden.shape == (3, 6, 4)
    assert torch.equal(both.hidden[:2, :3], short.hidden)
    assert torch.equal(both.mask[:2, :3], short.mask)
    assert not both.mask[:2, 3:].any()
    assert both.hidden[:2, 3:].abs().max() == 0
    assert torch.equal(both.hidden[2], long.hidden[0])


def test_repeat_keeps_copies_of_a_row_together():
    text = conditioning(2, 3)
    assert torch.equal(text.repeat(2).hidden, text.hidden[[0, 0, 1, 1]])


def test_to_changes_hidden_states_and_leaves_the_mask_bool():
    half = conditioning(2, 3).to(dtype=torch.float16)
    assert half.hidden.dtype == torch.float16
    assert half.mask.dtype == torch.bool


@pytest.mark.parametrize(
    ("hidden", "mask"),
    [
        (torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)),
        (torch.zeros(2, 3, 4), torch.ones(2, 4, dtype=torch.bool)),
        (torch.zeros(2, 3, 4), torch.ones(2, 3)),
    ],
)
def test_shapes_that_disagree_are_refused(hidden, mask):
    with pytest.raises(ValueError, match="mask"):
        TextConditioning(hidden, mask)
