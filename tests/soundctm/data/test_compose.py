"""Composed items: form, determinism, balance, placing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus_fixture import write_corpus

from soundctm.data.captions import TIMES
from soundctm.data.compose import ComposedCorpus, build_items
from soundctm.data.composing import placing
from soundctm.data.composing.surroundings import surround
from soundctm.data.corpus import load_corpus, trim_silence
from soundctm.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c")


def compose(root: Path, **settings) -> ComposedCorpus:
    return ComposedCorpus(load_corpus(root, "train"), root, **{"seed": 5, **settings})


def test_items_have_one_form(root):
    corpus = compose(root, pairs=0.5)
    for i in range(40):
        waveform, caption, label = corpus[i]
        assert waveform.shape == (40960,) and waveform.dtype == torch.float32
        assert torch.isfinite(waveform).all()
        assert waveform.abs().max().item() == pytest.approx(0.5, rel=1e-4)
        assert caption and set(label.split("|")) <= {"dog", "typing", "rain", "piano"}


def test_item_depends_on_seed_and_index_alone(root):
    first, again, other = compose(root), compose(root), compose(root, seed=6)
    for i in (7, 3, 11):
        assert torch.equal(first[i][0], again[i][0]) and first[i][1:] == again[i][1:]
    assert any(not torch.equal(first[i][0], other[i][0]) for i in range(4))


def test_test_clips_are_not_used(root):
    assert [row.file_name for row in compose(root).labels["dog"]] == ["clips/dog_0.ogg"]


def test_labels_are_drawn_by_the_root_of_their_seconds(root):
    corpus = compose(root)
    chance = dict(zip(corpus.labels, corpus.probabilities, strict=True))
    assert sum(chance.values()) == pytest.approx(1)
    assert chance["rain"] / chance["piano"] == pytest.approx(5**0.5)  # 5 s against 1 s
    assert chance["typing"] / chance["piano"] == pytest.approx(0.2**0.5)  # two clips of 0.1 s at least


def test_a_held_out_phrasing_never_comes_and_dull_sources_say_so(root):
    corpus = compose(root, pairs=0.3)
    captions = [corpus[i][1:] for i in range(300)]
    for label in corpus.labels:
        held_out = corpus.table[label].held_out
        assert held_out is None or not any(held_out.lower() in caption.lower() for caption, _ in captions)
    assert sum(corpus.table[label].held_out is not None for label in corpus.labels) >= 3
    alone = [(caption.lower(), label) for caption, label in captions if "|" not in label]
    assert all(("old recording" in caption) == (label == "piano") for caption, label in alone)


def test_far_sounds_and_rooms_are_heard_and_said(root):
    row = compose(root).labels["rain"][0]
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(20480).astype(np.float32)
    noise[10240:] = 0
    made = {phrase: sound for sound, phrase in (surround(noise, "rain", row, rng) for _ in range(300))}
    plain = np.abs(np.fft.rfft(made["rain"]))
    assert np.array_equal(made["rain"], noise)
    far = np.abs(np.fft.rfft(made["rain in the distance"]))
    assert far[9000:].sum() / far.sum() < 0.3 * plain[9000:].sum() / plain.sum()  # above 7 kHz
    assert np.abs(made["rain in a large hall"][11000:]).max() > 0.01 and np.isfinite(far).all()


def test_few_events_are_counted(root):
    corpus = compose(root, pairs=0.0)
    said = [corpus.single("dog", i)[1] for i in range(300)]
    counted = [caption for caption in said if any(word in caption for word in TIMES.values())]
    assert 3 < len(counted) < 100


def test_pairs_name_both_labels(root):
    items = [compose(root, pairs=1.0)[i] for i in range(10)]
    for _, caption, label in items:
        assert len(set(label.split("|"))) == 2
        assert any(word in caption.lower() for word in (" and ", "then", "followed by", "with", "while"))


def test_typing_is_repeated(root):
    corpus = compose(root, speed_changes=False)
    seen = [corpus.single("typing", i) for i in range(20)]
    onsets = [(w.reshape(-1, 320).abs().amax(1) > 0.1).sum().item() for w, _, _ in seen]
    assert np.median(onsets) > 8  # a single key would fill two or three of the 128 frames


def test_rain_fills_the_item(root):
    waveform, _, _ = compose(root).single("rain", 0)
    assert (waveform.reshape(-1, 640).abs().amax(1) > 0.02).float().mean() > 0.95


def test_from_row_keeps_the_label(root):
    corpus = compose(root)
    row = corpus.labels["piano"][0]
    waveform, _, label = corpus.from_row(row, 0)
    assert label == "piano" and waveform.shape == (40960,)


def test_build_items_is_the_items(root):
    corpus = compose(root)
    waveforms, captions, labels = build_items(corpus, 3, start=4)
    for k in range(3):
        waveform, caption, label = corpus[4 + k]
        assert torch.equal(waveforms[k], waveform) and (captions[k], labels[k]) == (caption, label)


def test_missing_clips_are_left_out_and_none_is_an_error(root, tmp_path):
    with pytest.raises(UserError, match="none of the clips"):
        ComposedCorpus(load_corpus(root), tmp_path)


def test_table_without_a_column_names_it(tmp_path):
    with (tmp_path / "corpus.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "caption"], ["a.wav", "x"]])
    with pytest.raises(UserError, match="has no column 'label'; its first line names file_name, caption"):
        load_corpus(tmp_path)


def test_absent_table_and_split_are_named(root, tmp_path):
    with pytest.raises(UserError, match="no corpus table at"):
        load_corpus(tmp_path / "gone")
    with pytest.raises(UserError, match="split 'dev'"):
        load_corpus(root, "dev")


def test_trim_keeps_the_sound():
    clip = np.zeros(5000, dtype=np.float32)
    clip[2000:2100] = 1.0
    trimmed = trim_silence(clip)
    assert trimmed.sum() == 100 and len(trimmed) < 500
    assert len(trim_silence(np.zeros(1000, dtype=np.float32))) == 160


def test_window_prefers_sound():
    clip = np.zeros(160000, dtype=np.float32)
    clip[100000:140000] = 1.0
    rng = np.random.default_rng(0)
    assert all(placing.window(clip, 20000, rng).sum() > 1000 for _ in range(20))


def test_loop_has_no_gap():
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    looped = placing.loop(noise, 40960, np.random.default_rng(1))
    level = np.sqrt((looped.reshape(-1, 512) ** 2).mean(1))
    assert looped.shape == (40960,) and level.min() > 0.6 and level.max() < 1.6


def test_repeated_events_keep_their_distance():
    click = np.ones(100, dtype=np.float32)
    for seed in range(10):
        sound, count = placing.place_repeated([click], 40960, (0.3, 0.5), np.random.default_rng(seed))
        assert sound.shape == (40960,)
        assert 2 <= count <= 30
