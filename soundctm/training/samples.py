"""Clips made while a network is trained: wavs, pictures of them, and a table of what they should be."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundctm.checkpoints import Components
from soundctm.inference.output import write_temporary_wav
from soundctm.inference.spectrogram import save_spectrogram
from soundctm.pipeline import SoundCTMPipeline
from soundctm.training import disk

logger = logging.getLogger(__name__)

SEED = 0  # the same noise at every validation, so that one hears what the training changes


def write_samples(
    folder: Path, parts: Components, weights: str, steps: Sequence[int], prompts: Sequence[str], omega: float = 3.5
) -> None:
    """Write `1step/00.wav`, `1step/00.png`, ... of every prompt for every number of steps, and `captions.csv`.

    Without a vocoder in the codec there is nothing to hear, and nothing is written.
    """
    if parts.codec.vocoder is None:
        logger.info("no samples: the codec has no vocoder yet")
        return
    device = next(parts.network(weights).parameters()).device
    pipeline = SoundCTMPipeline(parts, weights, device)
    for count in steps:
        out = pipeline(prompts, count, omega=omega, seed=SEED, batch_size=8)
        write_clips(folder / f"{count}step", out.audios, prompts, out.sampling_rate)


def write_clips(folder: Path, audios: np.ndarray, captions: Sequence[str], sampling_rate: int) -> None:
    """Clips [n, samples] as `00.wav`, `00.png`, ... with their captions in `captions.csv`."""
    with disk.writing(folder, "samples"):
        folder.mkdir(parents=True, exist_ok=True)
        for number, (audio, caption) in enumerate(zip(audios, captions, strict=True)):
            path = folder / f"{number:02d}.wav"
            os.replace(write_temporary_wav(path, audio, sampling_rate), path)
            save_spectrogram(path.with_suffix(".png"), audio, sampling_rate, caption)
        with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file_name", "caption"])
            writer.writerows([f"{number:02d}.wav", caption] for number, caption in enumerate(captions))
