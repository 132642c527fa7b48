"""Pairs by file name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundctm.errors import UserError
from soundctm.evaluation.folders.pairing import pair_by_name


def pairs(first, generated):
    return {(first[i], generated[j]) for i, j in pair_by_name(first, generated).pairs}


def test_endings_do_not_count():
    assert pairs(["a.flac", "b.wav"], ["b.mp3", "a.wav"]) == {("a.flac", "a.wav"), ("b.wav", "b.mp3")}


def test_what_has_no_partner_is_named():
    pairing = pair_by_name(["a.wav", "b.wav"], ["b.wav", "c.wav"])
    assert pairing.pairs == ((1, 0),)
    assert pairing.unmatched_first == ("a.wav",) and pairing.unmatched_generated == ("c.wav",)


def test_samples_of_one_caption_share_its_reference():
    assert pairs(["x.wav"], ["x_0.wav", "x_1.wav", "x_y.wav"]) == {("x.wav", "x_0.wav"), ("x.wav", "x_1.wav")}


def test_a_reference_of_that_very_name_goes_first():
    assert pairs(["x.wav", "x_0.wav"], ["x_0.wav"]) == {("x_0.wav", "x_0.wav")}


def test_one_name_with_two_endings_is_ambiguous():
    with pytest.raises(UserError, match="a.wav and a.flac have one name"):
        pair_by_name(["a.wav", "a.flac"], ["a.wav"])


@given(st.permutations([f"n{i}.wav" for i in range(6)]), st.permutations([f"n{i}_0.wav" for i in range(2, 8)]))
def test_pairs_do_not_depend_on_the_order(first, generated):
    assert pairs(first, generated) == {(f"n{i}.wav", f"n{i}_0.wav") for i in range(2, 6)}
