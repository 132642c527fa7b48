"""What lies below hearing goes, what is heard stays where it is."""

from __future__ import annotations

import pytest
import torch

from soundctm.data.rumble import remove_rumble
from soundctm.errors import UserError

RATE = 16_000
TIME = torch.arange(2 * RATE) / RATE


def level_db(frequency: float) -> float:
    """Of a sine behind the filter, against before, away from the ends."""
    tone = torch.sin(2 * torch.pi * frequency * TIME)
    return 20 * float((remove_rumble(tone, RATE)[8000:-8000].std() / tone[8000:-8000].std()).log10())


def test_the_gain_is_that_of_the_formula():
    for frequency, decibel in ((5.0, -62.3), (15.0, -24.6), (30.0, -6.0), (60.0, -0.5), (440.0, 0.0)):
        assert level_db(frequency) == pytest.approx(decibel, abs=0.3), frequency


def test_what_is_heard_is_neither_moved_nor_changed():
    tone = torch.sin(2 * torch.pi * 440 * TIME)
    error = (remove_rumble(0.3 + tone, RATE) - tone).abs()
    assert error[2000:-2000].max() < 1e-3 and error.max() < 0.06


def test_an_offset_that_changes_goes_too():
    drifting = 0.3 * torch.tanh(5 * (TIME - 1)) + 0.1 * torch.sin(2 * torch.pi * 440 * TIME)
    left = remove_rumble(drifting, RATE) - 0.1 * torch.sin(2 * torch.pi * 440 * TIME)
    assert left.abs().max() < 0.02 and abs(float(left.mean())) < 1e-4


@pytest.mark.parametrize("n", [0, 1, 7, 1000, 16_001])
def test_any_length_and_constants(n):
    made = remove_rumble(torch.full((2, n), 0.4), RATE)
    assert made.shape == (2, n) and made.dtype == torch.float32
    assert n == 0 or made.abs().max() < 1e-6


def test_nothing_is_removed_at_zero_and_less_is_refused():
    sound = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert remove_rumble(sound, RATE, 0.0) is sound
    with pytest.raises(UserError, match="highpass is -1 Hz"):
        remove_rumble(sound, RATE, -1)
