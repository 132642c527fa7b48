"""Clips made while a network is trained: wavs, pictures of them, and a table of what they should be."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundctm.checkpoints import Components
from soundctm.files import write_whole
from soundctm.files.sounds import write_sound
from soundctm.inference.spectrogram import save_spectrogram
from soundctm.pipeline import SoundCTMPipeline

PICTURES = 8  # spectrograms per folder, however many clips a FAD needs
SEED = 0  # the same noise at every validation, so that one hears what the training changes


def write_samples(
    folder: Path | None, parts: Components, weights: str, steps: Sequence[int], prompts: Sequence[str]
) -> dict[int, Path]:
    """Write `1step/00.wav`, `1step/00.png`, ... of every prompt for every number of steps, and `captions.csv`.

    Returns the folders by number of steps. Without `folder` the clips are made all the same, because the other
    processes of a cut network need this one.
    """
    device = next(parts.network(weights).parameters()).device
    pipeline, folders = SoundCTMPipeline.from_parts(parts, weights, device), {}
    pipeline.set_progress_bar_config(disable=True)
    for count in steps:
        out = pipeline(prompts, count, seed=SEED, batch_size=8)
        if folder is not None:
            folders[count] = folder / f"{count}step"
            write_clips(folders[count], out.audios, prompts, out.sampling_rate)
    return folders


def frechet_distance(folder: Path, reference: str, extractor: str) -> float:
    """FAD between the clips in two folders; the features of the reference are computed once."""
    from soundctm.evaluation.folders.evaluate import evaluate  # only who asks for it needs the extractors' packages
    from soundctm.evaluation.folders.options import EvaluationOptions

    report = evaluate(
        EvaluationOptions(
            generated_dir=str(folder), reference_dir=reference, metrics=("fad",), extractors=(extractor,), num_workers=0
        )
    )
    return report.results[0].value


def write_clips(folder: Path, audios: np.ndarray, captions: Sequence[str], sampling_rate: int) -> None:
    """Clips [n, samples] as `00.wav`, `00.png`, ... with their captions in `captions.csv`."""
    for number, (audio, caption) in enumerate(zip(audios, captions, strict=True)):
        path = folder / f"{number:02d}.wav"
        write_sound(path, audio, sampling_rate)
        if number < PICTURES:
            save_spectrogram(path.with_suffix(".png"), audio, sampling_rate, caption)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", "caption"])
    writer.writerows([f"{number:02d}.wav", caption] for number, caption in enumerate(captions))
    write_whole(folder / "captions.csv", text.getvalue())
