"""Captions on disk are what the encoder said, and it says it once."""

import torch

from soundctm.text import TextConditioning
from soundctm.text.caption_store import CaptionStore


class Letters:
    """One hidden state per letter and an end token; counts the captions that it encodes."""

    def __init__(self):
        self.encoded = []

    def encode(self, captions):
        self.encoded += captions
        rows = [torch.tensor([[float(ord(c)), len(t)] for c in t + "."]) for t in captions]
        return TextConditioning.from_rows((row, torch.ones(len(row), dtype=torch.bool)) for row in rows)


def same(a, b):
    return torch.equal(a.mask, b.mask) and torch.equal(a.hidden * a.mask[..., None], b.hidden * b.mask[..., None])


def test_every_caption_is_encoded_once_over_all_starts(tmp_path):
    encoder, wanted = Letters(), ["rain", "a dog", "rain", ""]
    store = CaptionStore(encoder, tmp_path, "abc")
    store.prepare(wanted)
    assert sorted(encoder.encoded) == ["", "a dog", "rain"]
    assert same(store.encode(wanted), Letters().encode(wanted))
    later = CaptionStore(encoder, tmp_path, "abc")
    later.prepare(["wind", "rain"])
    assert encoder.encoded[3:] == ["wind"]
    assert same(later.encode(["wind", "a dog"]), Letters().encode(["wind", "a dog"]))
    CaptionStore(encoder, tmp_path, "another encoder").prepare(["rain"])
    assert encoder.encoded[4:] == ["", "rain"]


def test_others_are_encoded_by_themselves(tmp_path):
    encoder = Letters()
    store = CaptionStore(encoder, tmp_path, "abc")
    store.prepare(["rain"])
    encoder.encoded.clear()
    assert same(store.encode(["rain", "a dog and rain"]), Letters().encode(["rain", "a dog and rain"]))
    assert encoder.encoded == ["a dog and rain"]


def test_a_damaged_file_is_passed_over(tmp_path, caplog):
    encoder = Letters()
    CaptionStore(encoder, tmp_path, "abc").prepare(["rain"])
    (file,) = (tmp_path / "abc").iterdir()
    file.write_bytes(file.read_bytes()[:20])
    store = CaptionStore(encoder, tmp_path, "abc")
    store.prepare(["rain"])
    assert "cannot be used" in caplog.text and encoder.encoded.count("rain") == 2
    assert same(store.encode(["rain"]), Letters().encode(["rain"]))
