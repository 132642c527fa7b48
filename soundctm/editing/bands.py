"""Parts of a clip in frequency: masks over the mel bands of latents, and joining old and new in the spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from soundctm.control.sound import mel_centres
from soundctm.editing.regions import parse_regions
from soundctm.errors import UserError

EDGE = 100.0  # Hz over which old and new cross, on either side of a band's edge


@dataclass(frozen=True)
class Band:
    """From `low` to `high` in Hz."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and 0 <= self.low < self.high):
            raise UserError(f"the band {self} is none; give LOW-HIGH in Hz, for example 4000-8000")


def parse_bands(text: str) -> tuple[Band, ...]:
    """ "4000-8000" -> one band. Raises UserError for anything else."""
    return tuple(Band(region.start, region.end) for region in parse_regions(text))


def latent_band_mask(codec: Any, bands: Sequence[Band]) -> torch.Tensor:
    """[F]: 1 on the latents' mel rows that touch a band, 0 elsewhere.

    Raises UserError for a codec without mel bands and for bands beyond its highest frequency.
    """
    mel = getattr(getattr(codec, "mel", None), "config", None)
    if mel is None:
        raise UserError("this model's codec has no mel bands; `bands` works with mel codecs alone")
    for band in bands:
        if band.low >= mel.fmax or band.high > codec.sampling_rate / 2:
            raise UserError(f"the band {band} Hz is outside of the model's range, {mel.fmin:g} to {mel.fmax:g} Hz")
    rows = codec.latent_shape()[-1]
    centres = mel_centres(mel).reshape(rows, -1)
    mask = torch.zeros(rows)
    for band in bands:
        mask[((centres >= band.low) & (centres <= band.high)).any(1)] = 1.0
    return mask


def paste_bands(kept: torch.Tensor, made: torch.Tensor, bands: Sequence[Band], rate: int) -> torch.Tensor:
    """`made` inside of `bands`, `kept` elsewhere, crossed over EDGE Hz; both [..., samples] at `rate` Hz.

    The filter has no phase, so what is kept stays in its place.
    """
    samples = kept.shape[-1]
    size = 2 * samples  # room, so that the end does not ring into the beginning
    hz = torch.fft.rfftfreq(size, 1 / rate, dtype=torch.float64)
    gain = torch.zeros_like(hz)
    for band in bands:
        inside = torch.minimum(hz - band.low, band.high - hz) / EDGE
        if band.high >= rate / 2 - EDGE:
            inside = (hz - band.low) / EDGE
        gain = torch.maximum(gain, ((inside + 1) / 2).clamp(0, 1))
    change = torch.fft.rfft(made - kept, size) * gain.to(kept.dtype)
    return kept + torch.fft.irfft(change, size)[..., :samples]
