"""The caption table, and the words that it must not contain."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from soundctm.data.captions import draw_caption, hold_out, join_phrases, load_caption_table, wrap_caption
from soundctm.data.corpus import DATA_FOLDER, CorpusRow
from soundctm.errors import UserError

TABLE = load_caption_table()
FUNCTION_WORDS = {"a", "an", "the", "of", "at", "from", "and", "along", "against", "in", "on"}


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


def row(label: str, caption: str) -> CorpusRow:
    return CorpusRow("clips/x.ogg", caption, label, "train", "g", "p", ("Dog",))


def test_every_label_has_phrasings():
    assert len(TABLE) == 200
    for label, spec in TABLE.items():
        assert len(set(spec.all_phrases())) >= 3, label
        assert all(phrase == phrase.strip() and not phrase.endswith(".") for phrase in spec.all_phrases()), label


def test_unseen_words_are_unseen():
    """Content words of the held-out captions occur in no training caption: neither the table's nor the corpus's."""
    seen = set()
    for spec in TABLE.values():
        for phrase in spec.all_phrases():
            seen |= words(phrase)
    corpus = DATA_FOLDER / "corpus.csv"
    if corpus.is_file():
        with corpus.open(newline="", encoding="utf-8") as file:
            for entry in csv.DictReader(file):
                seen |= words(entry["caption"]) | words(entry["label"])
    with (DATA_FOLDER / "unseen_captions.csv").open(newline="", encoding="utf-8") as file:
        unseen = list(csv.DictReader(file))
    assert len(unseen) >= 20
    for entry in unseen:
        content = words(entry["caption"]) - FUNCTION_WORDS
        assert content and not content & seen, (entry["caption"], content & seen)
        assert entry["label"] in TABLE


def test_captions_of_one_clip_override_the_label():
    rng = np.random.default_rng(0)
    drawn = {draw_caption(TABLE["train"], row("train", "a steam engine whistle"), False, rng) for _ in range(50)}
    assert drawn == set(TABLE["train"].captions["a steam engine whistle"])


def test_wrong_corpus_captions_are_not_used():
    rng = np.random.default_rng(0)
    wrong = "the sound of remember to flush the toilet"
    assert all(draw_caption(TABLE["toilet"], row("toilet", wrong), False, rng) != wrong for _ in range(100))


def test_repeated_events_are_described_as_such():
    rng = np.random.default_rng(0)
    drawn = {draw_caption(TABLE["typing"], row("typing", "a keyboard key"), True, rng) for _ in range(100)}
    assert drawn == set(TABLE["typing"].many)


def test_wrapping_keeps_the_phrase():
    rng = np.random.default_rng(0)
    drawn = {wrap_caption("a dog barking", rng) for _ in range(300)}
    assert {"a dog barking", "A dog barking", "the sound of a dog barking"} <= drawn
    assert all("a dog barking" in caption.lower() for caption in drawn)


def test_joined_phrases_hold_both():
    rng = np.random.default_rng(0)
    for sequence in (False, True):
        for _ in range(50):
            caption = join_phrases("rain", "a dog", sequence, rng).lower()
            in_order = caption.index("rain") < caption.index("a dog")
            assert in_order != (sequence and " after " in caption)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog: {style: event}", "'dog' needs a list"),
        ("dog: {say: [x], colour: red}", "unknown field colour"),
        ("dog: {say: [x], style: loud}", "style of 'dog' is 'loud'"),
        ("dog: {say: [x], period: [2, 1]}", "period of 'dog'"),
        ("[1", "not valid YAML"),
        ("dog: {say: 1}", "'dog': `say` must be a list of texts"),
        ("dog: {say: [1]}", "'dog': `say` must be a list of texts"),
        ("dog: {say: [x], period: [a, b]}", "period of 'dog' must be two rising numbers"),
        ("dog: {say: [x], captions: [1]}", "`captions` must give lists of phrasings by caption"),
        ("dog: {say: [x], captions: {y: []}}", "the caption 'y' has no phrasings"),
    ],
)
def test_wrong_tables_are_explained(tmp_path, text, message):
    path = tmp_path / "captions.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_caption_table(path)


def test_one_phrasing_of_most_labels_is_held_out_whatever_is_drawn():
    table = hold_out(TABLE)
    assert set(table) == set(TABLE) and sum(spec.held_out is not None for spec in table.values()) > 170
    trained_on = [phrase.lower() for spec in table.values() for phrase in spec.all_phrases()]
    for label, spec in table.items():
        if spec.held_out is not None:
            assert spec.held_out in TABLE[label].say and len(spec.say) >= 2
            assert not any(spec.held_out.lower() in phrase for phrase in trained_on)
    rng = np.random.default_rng(0)
    spec = table["dog"]
    own = row("dog", f"the sound of {spec.held_out}")
    assert not any(spec.held_out in draw_caption(spec, own, False, rng) for _ in range(200))
