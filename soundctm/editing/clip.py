"""Sounds that are edited: reading them, their latents, and from latents back to as many samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundctm.data.audio import read_audio, resample
from soundctm.errors import UserError

MAX_SECONDS = 600.0  # of a clip after an edit
Audio = str | os.PathLike | np.ndarray | torch.Tensor


def read_init(audio: Audio, rate: int | None, wanted: int) -> torch.Tensor:
    """The first channel of `audio` at `wanted` Hz, float32 [samples].

    `audio` is a sound file, or samples [n] or [channels, n] at `rate` Hz (None: they are at `wanted`). Raises UserError
    for a file that cannot be read, and for samples that are none, not finite, or of another shape.
    """
    if isinstance(audio, str | os.PathLike):
        return read_audio(Path(audio), wanted)[0]
    samples = torch.as_tensor(audio, dtype=torch.float32).cpu()
    samples = samples[0] if samples.ndim == 2 else samples
    if samples.ndim != 1 or samples.numel() == 0:
        raise UserError(f"audio must be [samples] or [channels, samples], not {tuple(np.shape(audio))}")
    if not bool(torch.isfinite(samples).all()):
        raise UserError("the audio holds NaN or infinite samples")
    return resample(samples, wanted if rate is None else rate, wanted)


def check_length(seconds: float, what: str) -> None:
    """Raises UserError for a result longer than MAX_SECONDS."""
    if not seconds <= MAX_SECONDS:
        raise UserError(f"{what} would make {seconds:g} s; {MAX_SECONDS:g} s is the limit")


def frames_of(codec: Any, samples: int) -> int:
    """Latent frames that hold `samples`."""
    return max(1, -(-samples // codec.samples_per_latent))


def encode(codec: Any, waveform: torch.Tensor, frames: int) -> torch.Tensor:
    """Latents [1, C, frames, ...] of [samples], filled up with silence; the posterior's mean, so without chance."""
    samples = frames * codec.samples_per_latent
    padded = torch.nn.functional.pad(waveform, (0, samples - len(waveform)))[None].to(codec.device)
    return codec.encode(padded, sample_posterior=False)


def decode_loop(codec: Any, latents: torch.Tensor, context: int = 16, fade_seconds: float = 0.005) -> torch.Tensor:
    """Waveforms [B, T * samples_per_latent] that can be repeated: the end runs into the beginning.

    The decoder hears the end before the beginning and the beginning after the end, and the last few milliseconds are
    crossfaded with what it made of them there, so that the last sample and the first are neighbours.
    """
    frames, size = latents.shape[2], codec.samples_per_latent
    places = torch.arange(-context, frames + context, device=latents.device) % frames
    whole = codec.decode(latents.index_select(2, places))
    start = context * size
    waveform = whole[:, start : start + frames * size].clone()
    fade = min(round(fade_seconds * codec.sampling_rate), waveform.shape[1])
    rising = (torch.arange(fade, device=waveform.device) + 1) / fade
    waveform[:, -fade:] = torch.lerp(waveform[:, -fade:], whole[:, start - fade : start], rising)
    return waveform
