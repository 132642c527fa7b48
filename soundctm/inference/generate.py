"""The loop of a run: batches through the pipeline, each clip written as soon as it is made."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from soundctm.defaults import NO_OMEGA, SamplingWarning, Settings
from soundctm.errors import UserError
from soundctm.files import whole_file, write_whole
from soundctm.files.sounds import sound_bytes
from soundctm.finite import check_sound
from soundctm.inference.finishing import finish, is_nearly_silent
from soundctm.inference.manifest import Entry, Manifest
from soundctm.inference.options import InferenceOptions
from soundctm.inference.steering import Steered

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A clip as it is to be written: `audio` float32 [samples] in [-1, 1] at `rate` Hz, its entry with the results."""

    entry: Entry
    audio: np.ndarray
    rate: int
    subtype: str  # of samples in a wav: the model's own

    @property
    def silence(self) -> str | None:
        """A sentence, where there is nothing to hear."""
        if not is_nearly_silent(self.audio):
            return None
        peak = np.abs(self.audio).max()
        return f"{self.entry.file} ({self.entry.caption!r}) is nearly silent: its peak is {peak:.2g}"


def make(
    pipeline: SoundCTMPipeline, entries: Sequence[Entry], options: InferenceOptions, settings: Settings
) -> Iterator[Made]:
    """The clips of `entries` one after the other, batch by batch; where memory is short, fewer at once from then on.

    Raises UserError for audio that is not finite, and where there is not enough memory for one clip.
    """
    steered = Steered(pipeline, options, generated_seconds(pipeline.codec, options.target_length))
    length = None if options.init_audio else options.target_length
    start, size = 0, options.batch_size
    while start < len(entries):
        batch = entries[start : start + size]
        begun = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SamplingWarning)  # `plan` said it
                made, errors = steered.make(
                    [entry.caption for entry in batch],
                    [int(entry.seed) for entry in batch],
                    num_inference_steps=settings.steps,
                    sampler=settings.sampler,
                    omega=NO_OMEGA if settings.omega is None else settings.omega,
                    nu=settings.nu,
                    gamma=settings.gamma,
                )
        except RuntimeError as error:
            if not is_short_of_memory(error):
                raise
            size = fewer(len(batch))
            continue
        start += len(batch)
        took = (time.perf_counter() - begun) / len(batch)
        for row, (entry, audio) in enumerate(zip(batch, made.audios, strict=True)):
            audio, rate = finish(audio, made.sampling_rate, length, options.sampling_rate, options)
            check_sound(audio[None], [entry.caption], options.dtype)
            done = dataclasses.replace(
                entry,
                seconds=f"{len(audio) / rate:g}",
                generation_seconds=f"{took:.3f}",
                score="" if made.scores is None else f"{made.scores[row]:.4g}",
                chosen_seed=str(made.seeds[row]) if options.rank == "best" else "",
                control_error="" if errors[row] is None else f"{errors[row]:.4g}",
            )
            yield Made(done, audio, rate, pipeline.codec.sample_format)


def generate(
    pipeline: SoundCTMPipeline,
    entries: Sequence[Entry],
    options: InferenceOptions,
    settings: Settings,
    manifest: Manifest,
    show_progress: bool = True,
) -> list[str]:
    """Make the clips of `entries` in the folder of `manifest`; returns what came out nearly silent and was not written.

    With `keep_silent` such clips are written and named all the same. Raises UserError for audio that is not finite.
    """
    folder = manifest.path.parent
    silent = []
    with tqdm(total=len(entries), unit="clip", disable=not show_progress) as bar:
        for made in make(pipeline, entries, options, settings):
            if made.silence:
                log.warning(made.silence)
            if made.silence and not options.keep_silent:
                silent.append(made.silence)
            else:
                write_made(folder / made.entry.file, made, manifest, options.save_spectrograms)
            bar.update()
    return silent


def is_short_of_memory(error: RuntimeError) -> bool:
    """Did a device, or the system, have too little memory?"""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def fewer(clips: int) -> int:
    """How many clips to make at once when there was no memory for so many. Raises UserError where it was one."""
    import torch

    if clips == 1:
        raise UserError("there is not enough memory for one clip; give --offload, --dtype bfloat16 or a shorter length")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.warning("not enough memory for %d clips at once; going on with %d", clips, clips // 2)
    return clips // 2


def generated_seconds(codec, target_length: float | None) -> float | None:
    """What to ask the pipeline for: its own length, unless more is wanted; then whole latent frames that reach it."""
    if target_length is None or target_length <= codec.default_seconds:
        return None
    frame = codec.default_seconds / codec.latent_shape()[1]
    return float(np.ceil(target_length / frame - 1e-6) * frame)


def draw_missing(folder: Path, entries: Sequence[Entry]) -> None:
    """Spectrograms of wavs that are there already but have none."""
    import soundfile

    from soundctm.inference.spectrogram import save_spectrogram

    for entry in entries:
        wav = folder / entry.file
        if wav.exists() and not wav.with_suffix(".png").exists():
            audio, rate = soundfile.read(os.fsencode(wav), dtype="float32")
            save_spectrogram(wav.with_suffix(".png"), audio, rate, entry.caption)


def write_made(path: Path, made: Made, manifest: Manifest, spectrogram: bool = False) -> None:
    """Write picture, line and wav; an older clip is there until the new one takes its place. Raises UserError."""
    replaces, picture, entry = path.exists(), path.with_suffix(".png"), made.entry
    if spectrogram:
        from soundctm.inference.spectrogram import save_spectrogram  # matplotlib takes a second to import

        save_spectrogram(picture, made.audio, made.rate, entry.caption)
    content = sound_bytes(made.audio, made.rate, subtype=made.subtype)
    if replaces:
        manifest.append(dataclasses.replace(entry, seconds="", generation_seconds=""))
        write_whole(path, content)
        if not spectrogram:
            with contextlib.suppress(OSError):
                picture.unlink()  # of the older clip
        manifest.append(entry)
        return
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
        manifest.append(entry)
