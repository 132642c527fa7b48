"""Every writer on a full disk, and in a place that is none: one sentence, nothing half-written, old files stay."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import UNET

from soundctm.checkpoints import Components, save_checkpoint
from soundctm.checkpoints.assemble import write_made_with
from soundctm.checkpoints.official.autoencoder import save_autoencoder
from soundctm.codecs.waveform import WaveformCodec
from soundctm.config import save_config
from soundctm.data import clip_latents
from soundctm.data.check import Problem, write_report
from soundctm.data.dataset import CaptionedFile
from soundctm.data.latents import LatentDataset, write_latents
from soundctm.data.shards import pack
from soundctm.errors import Unwritable, UserError
from soundctm.evaluation.models.reference_clips import ReferenceClip, write_table
from soundctm.files import append_line
from soundctm.files.sounds import write_sound
from soundctm.inference.spectrogram import save_spectrogram
from soundctm.networks import StudentUNet
from soundctm.text import TextConditioning
from soundctm.text.caption_store import CaptionStore
from soundctm.training.inputs import trajectories

FREE = 8 * 1024  # bytes
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 50_000).astype(np.float32)


class Encoder:
    def encode(self, captions):
        return TextConditioning.from_rows((torch.ones(4000, 8), torch.ones(4000, dtype=torch.bool)) for _ in captions)


@dataclasses.dataclass(frozen=True)
class Options:
    text: str = "a" * 20_000


def latents(folder):
    mean = torch.zeros(4, 50, 100).half()
    write_latents(LatentDataset(mean, mean.clone(), ["a"] * 4, ["a"] * 4, 1.0), folder / "a.safetensors", "key")


def shards(folder):
    with tempfile.TemporaryDirectory() as place:
        write_sound(Path(place) / "a.wav", NOISE, 16000)
        pack([CaptionedFile(Path(place) / "a.wav", "rain")], folder, 10)


def network(folder):
    torch.manual_seed(0)
    save_checkpoint(folder / "model", Components(StudentUNet.from_config(UNET)))


WRITERS = {
    "latents": latents,
    "latents of a clip": lambda f: clip_latents._write(f / "a.safetensors", {"mean": torch.zeros(50_000)}),
    "captions": lambda f: CaptionStore(Encoder(), f, "abc").prepare(["rain"]),
    "trajectories": lambda f: trajectories._write(f / "0.safetensors", {"states": torch.zeros(50_000)}, ["a"]),
    "network": network,
    "official files": lambda f: save_autoencoder(WaveformCodec([2, 2], 8, 4, 16), f / "weights.pth", f / "z.pth"),
    "shards": shards,
    "report of a check": lambda f: write_report([Problem(2, "a.wav", "silent", "x" * 20_000)], f / "report.csv"),
    "table": lambda f: write_table(f / "a.csv", [ReferenceClip("a.wav", "x" * 20_000, "a", "b")]),
    "configuration": lambda f: save_config(Options(), f / "config.yaml"),
    "hashes": lambda f: write_made_with(f, {"vae": "x" * 20_000}),
    "line": lambda f: append_line(f / "log.jsonl", json.dumps("x" * 20_000)),
    "sound": lambda f: write_sound(f / "a.wav", NOISE, 16000),
    "picture": lambda f: save_spectrogram(f / "a.png", NOISE, 16000, "rain"),
}


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk(what, small_disk):
    folder = small_disk / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    room = os.statvfs(small_disk)
    (small_disk / "other").write_bytes(bytes(room.f_bavail * room.f_bsize - FREE))
    before = files(folder)
    with pytest.raises(Unwritable, match=r"cannot be written: (No space left on device|.*os error 28|a write failed)"):
        WRITERS[what](folder)
    after = files(folder)
    assert before.items() <= after.items() and all(after[name] == b"" for name in after.keys() - before.keys())


@pytest.mark.parametrize("what", WRITERS)
def test_a_place_that_is_none(what, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written|is not a folder|is a file"):
        WRITERS[what](tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == ""
