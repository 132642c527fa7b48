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


def test_folders_are_part_of_a_name():
    both = ["birds/a.wav", "cats/a.wav"]
    assert pairs(both, both) == {("birds/a.wav", "birds/a.wav"), ("cats/a.wav", "cats/a.wav")}
    assert pairs(["birds/a.wav"], ["cats/a.wav"]) == set()
    assert pairs(["audio/a.wav", "audio/b.wav"], ["b.wav", "a_0.wav"]) == {
        ("audio/a.wav", "a_0.wav"),
        ("audio/b.wav", "b.wav"),
    }
    assert pairs(["a.wav"], both) == set() and pairs(both, ["a.wav"]) == set()  # which one, nobody knows


def test_spellings_of_one_name_pair_unless_the_very_name_is_there():
    composed, decomposed = "\u00fc.wav", "u\u0308.wav"
    assert pairs([composed], [decomposed]) == {(composed, decomposed)}
    assert pairs([" a.wav"], ["a.wav"]) == {(" a.wav", "a.wav")}
    assert pairs(["sub\\a.wav"], ["sub/a.wav"]) == {("sub\\a.wav", "sub/a.wav")}
    assert pairs([composed, decomposed], [decomposed]) == {(decomposed, decomposed)}


def test_further_captions_of_a_clip_share_its_reference():
    made = ["x.wav", "x-867d08.wav", "x-867d08_1.wav", "x-867d08-2.wav", "x-867d0.wav"]
    assert pairs(["x.wav"], made) == {("x.wav", name) for name in made[:4]}


def test_one_name_with_two_endings_is_ambiguous():
    with pytest.raises(UserError, match="a.wav and a.flac have one name"):
        pair_by_name(["a.wav", "a.flac"], ["a.wav"])


@given(st.permutations([f"n{i}.wav" for i in range(6)]), st.permutations([f"n{i}_0.wav" for i in range(2, 8)]))
def test_pairs_do_not_depend_on_the_order(first, generated):
    assert pairs(first, generated) == {(f"n{i}.wav", f"n{i}_0.wav") for i in range(2, 6)}
