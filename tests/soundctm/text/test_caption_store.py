"""Captions on disk are what the encoder said, and it says it once."""

import pytest
import torch
from safetensors.torch import save_file

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


HEADERS = [{"captions": '["rain"]', "lengths": "null"}, {"captions": '["rain"]', "lengths": "[7]"}]


@pytest.mark.parametrize("damage", ["cut", "empty", "no rows", *range(len(HEADERS))])
def test_a_damaged_file_is_passed_over(tmp_path, caplog, damage):
    encoder = Letters()
    CaptionStore(encoder, tmp_path, "abc").prepare(["rain"])
    (file,) = (tmp_path / "abc").iterdir()
    if damage in ("cut", "empty"):
        file.write_bytes(file.read_bytes()[: 20 if damage == "cut" else 0])
    elif damage == "no rows":
        save_file({}, file, {"captions": '["rain"]', "lengths": "[5]"})
    else:
        save_file({"rows": torch.zeros(5, 2)}, file, HEADERS[damage])
    store = CaptionStore(encoder, tmp_path, "abc")
    store.prepare(["rain"])
    assert "cannot be used" in caplog.text and encoder.encoded.count("rain") == 2
    caplog.clear()
    CaptionStore(encoder, tmp_path, "abc").prepare(["rain"])  # the damaged one is gone
    assert not caplog.text and encoder.encoded.count("rain") == 2
    assert same(store.encode(["rain"]), Letters().encode(["rain"]))


def test_a_file_of_an_earlier_process_of_the_same_number_is_not_overwritten(tmp_path):
    encoder = Letters()
    for caption in ("rain", "wind"):
        CaptionStore(encoder, tmp_path, "abc").prepare([caption])
    first, second = sorted((tmp_path / "abc").iterdir())
    first.write_bytes(b"")
    CaptionStore(encoder, tmp_path, "abc").prepare(["rain"])
    again = CaptionStore(Letters(), tmp_path, "abc")
    again.prepare(["rain", "wind"])
    assert second.exists() and again.encoder.encoded == []
