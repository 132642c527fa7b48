"""Real sounds through the codec and back: the best that any model in its latent space could sound like.

    python -m soundctm.evaluation.models.round_trip --input_dir outputs/reference --output_dir outputs/round_trip
    python numerical_evaluation.py --reference_dir outputs/reference --generated_dir outputs/round_trip

Every clip keeps its name and length, so that it can be paired with the original. The posterior's mean is taken.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import pad
from tqdm import tqdm

from soundctm.audioldm import AudioLDMCodec
from soundctm.checkpoints import load_codec
from soundctm.command import run_module
from soundctm.config import option
from soundctm.data.audio import read_audio
from soundctm.devices import usable_device
from soundctm.errors import UserError
from soundctm.evaluation.folders.clips import clip_name, list_clips
from soundctm.files import ensure_writable
from soundctm.files.sounds import write_sound

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoundTripOptions:
    """One run of `python -m soundctm.evaluation.models.round_trip`."""

    input_dir: str = option("outputs/reference", "folder of real clips")
    output_dir: str = option("outputs/round_trip", "folder for what comes back, wavs of the same names")
    codec: str = option("ckpt/mini/codec", "codec folder")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto takes the best there is")


def round_trip(codec: AudioLDMCodec, waveform: torch.Tensor) -> torch.Tensor:
    """Mono [samples] in [-1, 1] at the codec's rate, encoded and decoded again; silence fills the last latent frame."""
    whole = codec.samples_per_latent
    samples = len(waveform)
    padded = pad(waveform, (0, math.ceil(samples / whole) * whole - samples))[None].to(codec.device)
    return codec.decode(codec.encode(padded, sample_posterior=False))[0, :samples].cpu()


def convert(options: RoundTripOptions) -> float:
    """Write all clips; returns the median seconds that one took. Raises UserError for wrong folders and files."""
    clips, folder = list_clips(options.input_dir), Path(options.output_dir)
    names = [f"{os.path.splitext(clip_name(path, options.input_dir))[0]}.wav" for path in clips]
    if len(set(names)) < len(names):
        raise UserError(f"{options.input_dir} holds clips that differ only in how their names end")
    ensure_writable(folder)
    if Path(options.input_dir).resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UserError(f"{folder} is the folder of the real clips, or lies in it; give another --output_dir")
    others = sorted({clip_name(path, folder) for path in folder.rglob("*.wav")} - set(names))
    if others:
        raise UserError(f"{folder} holds other clips ({others[0]}); give another --output_dir")
    codec = load_codec(options.codec).to(usable_device(options.device))
    seconds = []
    for path, name in zip(tqdm(clips, "round trip", unit="clip"), names, strict=True):
        waveform = read_audio(path, codec.sampling_rate)[0]
        began = time.perf_counter()
        back = round_trip(codec, waveform)
        seconds.append(time.perf_counter() - began)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_sound(folder / name, back.numpy(), codec.sampling_rate)
    log.info("%d clips in %s, %.3f s each", len(clips), folder, statistics.median(seconds))
    return statistics.median(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is that of `run_module`."""
    return run_module("soundctm.evaluation.models.round_trip", __doc__, RoundTripOptions, convert, arguments)


if __name__ == "__main__":
    sys.exit(main())
