"""CSV data sets: right items, the same in every worker, and errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from soundctm.data.audio import load_clip
from soundctm.data.dataset import CaptionedAudioDataset, collate
from soundctm.errors import UserError


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(4):
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * rng.standard_normal(3000 + i), 16000)
    lines = ["file_name,caption"] + [f'{i}.wav,"sound {i}, and more"' for i in range(4)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_items_are_official_clips(folder):
    dataset = CaptionedAudioDataset(folder / "train.csv", num_samples=2000)
    assert len(dataset) == 4
    waveform, caption = dataset[2]
    assert caption == "sound 2, and more"
    assert torch.equal(waveform, load_clip(folder / "2.wav", 2000))


def test_random_parts_change_with_the_epoch_only(folder):
    dataset = CaptionedAudioDataset(folder / "train.csv", num_samples=1000, random_crop=True, seed=1)
    first = dataset[0][0]
    assert torch.equal(first, dataset[0][0])
    dataset.set_epoch(1)
    assert not torch.equal(first, dataset[0][0])
    assert first.abs().max().item() == pytest.approx(0.5)


def test_workers_give_the_same_items(folder):
    dataset = CaptionedAudioDataset(folder / "train.csv", num_samples=1000, random_crop=True)
    alone = [batch for batch in DataLoader(dataset, 2, collate_fn=collate)]
    workers = [batch for batch in DataLoader(dataset, 2, collate_fn=collate, num_workers=2)]
    for (a, captions_a), (b, captions_b) in zip(alone, workers, strict=True):
        assert torch.equal(a, b) and captions_a == captions_b and a.shape == (2, 1000)


def test_a_byte_order_mark_is_no_column_name(folder):
    text = (folder / "train.csv").read_text()
    (folder / "bom.csv").write_text(text, encoding="utf-8-sig")
    assert len(CaptionedAudioDataset(folder / "bom.csv")) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file_name,caption\n", "no rows"),
        ("file_name,text,duration\n0.wav,x,1\n", "no column 'caption'; its first line names file_name, text, duration"),
        ("file_name,caption\n0.wav,x\n1.wav,\n", "line 3: the caption is empty"),
        ("file_name,caption\n0.wav,x\n ,x\n", "line 3: the file_name is empty"),
        ("file_name,caption\n0.wav,x\n8.wav,x\n9.wav,x\n", "2 of 3 sound files .*8.wav, .*9.wav$"),
        ("file_name,caption\n" + "".join(f"n{i}.wav,x\n" for i in range(8)), "8 of 8 .*and 3 more"),
    ],
)
def test_wrong_tables_are_explained(folder, text, message):
    (folder / "wrong.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        CaptionedAudioDataset(folder / "wrong.csv")


def test_absent_table(tmp_path):
    with pytest.raises(UserError, match="there is no file .*gone.csv"):
        CaptionedAudioDataset(tmp_path / "gone.csv")


def test_other_encodings_are_explained(tmp_path):
    (tmp_path / "latin.csv").write_bytes("file_name,caption\na.wav,caf\xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        CaptionedAudioDataset(tmp_path / "latin.csv")
