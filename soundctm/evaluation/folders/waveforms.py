"""Decoded files as extractors want to hear them (`extractors.reading`)."""

from __future__ import annotations

import torch
from torch import Tensor

from soundctm.data.audio import normalise_peak
from soundctm.data.resampling import resample
from soundctm.evaluation.extractors.reading import Reading

LARGEST = 32767  # of 16-bit samples, which counts as 1


def waveform_of(samples: Tensor, rate: int, reading: Reading) -> Tensor:
    """Decoded samples float32 [channels, n] at `rate` Hz as `reading` asks: [n'], or [2, n'] for stereo."""
    sound = _channels(samples, reading.channels)
    if reading.peak is not None and reading.peak_first:
        # As stable-audio-metrics has it: the level of all channels of the file, before they are averaged.
        sound = _channels(_peak(samples, reading.peak), reading.channels)
    for new_rate in (reading.band or rate, reading.sampling_rate):
        sound, rate = resample(sound, rate, new_rate, reading.kernel), new_rate
    if reading.peak is not None and not reading.peak_first:
        sound = _peak(sound, reading.peak)
    return through_int16(sound) if reading.int16 else sound


def through_int16(waveform: Tensor) -> Tensor:
    """The waveform after a stay in 16 bits: clipped to [-1, 1], in steps of 1 / 32767, cut off towards zero."""
    return (waveform.clamp(-1, 1) * LARGEST).trunc() / LARGEST


def _channels(samples: Tensor, which: str) -> Tensor:
    if which == "first":
        return samples[0]
    if which == "mean":
        return samples.mean(0)
    return samples[:2] if len(samples) > 1 else torch.cat([samples, samples])


def _peak(sound: Tensor, decibels: float) -> Tensor:
    return normalise_peak(sound, 10 ** (decibels / 20))
