"""Mixing against the official code (golden h), and its faults that must not return."""

from __future__ import annotations

import pytest
import torch
from helpers import close, golden, golden_meta

from soundctm.data import mixing


@pytest.fixture(scope="module")
def g() -> dict[str, torch.Tensor]:
    return golden("h_wav_mel")


@pytest.mark.parametrize("name", ["a", "b"])
def test_gain_matches_official(g, name):
    close(mixing.a_weighted_gain(g[f"mix.{name}"]), g[f"mix.gain_{name}"], rtol=1e-6)


@pytest.mark.parametrize("r", [0.5, 0.3])
def test_mix_matches_official(g, r):
    assert mixing.mix_coefficient(g["mix.a"], g["mix.b"], r) == pytest.approx(g[f"mix.t_{r}"].item(), rel=1e-6)
    out = mixing.mix_pair(g["mix.a"], g["mix.b"], r)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, g[f"mix.out_{r}"], rtol=0, atol=2e-6)


def test_augment_matches_official(g):
    rows = torch.cat([g[f"read.{case}"] for case in ("mono16k_exact", "mono48k", "mono22k")])
    texts = golden_meta("h_wav_mel")["augment"]
    pairs = [tuple(p) for p in g["augment.pairs"].tolist()]
    mixed, captions = mixing.augment(rows, texts["captions_in"], pairs=pairs)
    torch.testing.assert_close(mixed, g["augment.waveform"], rtol=0, atol=2e-6)
    assert captions == texts["captions_out"]


def test_join_captions_matches_official():
    for first, second, joined in golden_meta("h_wav_mel")["caption_join"]:
        assert mixing.join_captions(first, second) == joined


def test_one_silent_file_leaves_the_other_rows_alone(g):
    a, b = g["mix.a"], g["mix.b"]
    mixed, _ = mixing.augment(torch.stack([a, torch.zeros_like(a), b]), ["x", "y", "z"], pairs=[(0, 1), (0, 2)])
    assert torch.isfinite(mixed).all()
    assert mixed.abs().max().item() == pytest.approx(0.5)
    alone = mixed[0] / mixed[0].abs().max()
    close(alone, a / a.abs().max(), rtol=1e-2)  # the floor of -80 dB keeps t just below 1


def test_two_silent_files_give_silence():
    mixed, _ = mixing.augment(torch.zeros(2, 4000), ["x", "y"], num_items=1)
    assert torch.equal(mixed, torch.zeros(1, 4000))


def test_equal_loudness_at_half(g):
    a = g["mix.a"]
    assert mixing.mix_coefficient(a, a, 0.5) == pytest.approx(0.5)
    assert mixing.mix_coefficient(a * 0.1, a, 0.5) == pytest.approx(10 / 11)


def test_sounds_shorter_than_a_frame_are_padded():
    assert mixing.a_weighted_gain(torch.ones(100)).shape == (1,)


def test_pairs_are_reproducible_different_and_limited():
    pairs = mixing.draw_pairs(6, 5, torch.Generator().manual_seed(3))
    assert pairs == mixing.draw_pairs(6, 5, torch.Generator().manual_seed(3))
    assert len(set(pairs)) == 5 and all(i < j for i, j in pairs)
    assert mixing.draw_pairs(1, 2) == []
    assert len(mixing.draw_pairs(2, 2)) == 1


def test_batch_of_one_gives_no_mix():
    mixed, captions = mixing.augment(torch.ones(1, 100), ["x"])
    assert mixed.shape == (0, 100) and captions == []


def test_nan_rows_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        mixing.augment(torch.full((2, 100), float("nan")), ["x", "y"])


def test_dropped_captions_are_whole_and_reproducible():
    captions = [f"sound {i} and sound {i + 1}" for i in range(1000)]
    dropped = mixing.drop_captions(captions, 0.1, torch.Generator().manual_seed(0))
    assert dropped == mixing.drop_captions(captions, 0.1, torch.Generator().manual_seed(0))
    assert 60 < dropped.count("") < 140
    assert all(d in ("", c) for d, c in zip(dropped, captions, strict=True))


def test_full_band_mixtures_match_the_official_ones():
    g = golden("dit/h_latents_data")
    sounds = g["mix.waveform"]
    for i, sound in enumerate(sounds):
        close(mixing.a_weighted_gain(sound, 44_100), g[f"mix.gain_{i}"], 1e-5)
    close(mixing.mix_pair(sounds[0], sounds[1], sampling_rate=44_100), g["mix.out_01"], 1e-5)
    pairs, texts = [tuple(pair) for pair in g["augment.pairs"].tolist()], ["A dog barks", "Rain falls.", ""]
    mixed, captions = mixing.augment(sounds, texts, pairs=pairs, sampling_rate=44_100)
    close(mixed, g["augment.waveform"], 1e-5)
    assert captions == ["A dog barks and rain falls.", "A dog barks and "]
