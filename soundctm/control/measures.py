"""Measures: differentiable functions of a sound that give a curve over its time, one value per frame of 10 ms.

A measure is any function (Sound) -> [B, frames]; these are the ones that have names. None of them gives NaN or an
unbounded gradient on silence: powers are added to a floor before a logarithm or a quotient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from soundctm.control.sound import Sound

Measure = Callable[[Sound], Tensor]

FLOOR = 1e-9  # mean square added before logarithms: -90 dB below full scale
WINDOW, ORDER = 31, 2  # of the Savitzky-Golay filter: frames (0.31 s) and degree


def intensity(sound: Sound) -> Tensor:
    """Loudness in dB below full scale: 10 log10 of the mean square of a frame, smoothed by `savitzky_golay`."""
    return savitzky_golay(10 * (sound.power.sum(2) + FLOOR).log10())


def centroid(sound: Sound) -> Tensor:
    """Brightness in Hz: the mean frequency, weighted by power, smoothed by `savitzky_golay`."""
    power = sound.power + FLOOR * sound.widths
    return savitzky_golay((power * sound.hz).sum(2) / power.sum(2))


def onsets(sound: Sound) -> Tensor:
    """Onset strength in dB: how much louder a frame is than the one 30 ms before, mean over frequency; falls are 0."""
    level = 10 * (sound.power + FLOOR * sound.widths).log10()
    rise = (torch.relu(level[:, 3:] - level[:, :-3]) * sound.widths).sum(2)
    return torch.nn.functional.pad(rise, (3, 0))


MEASURES: dict[str, Measure] = {"intensity": intensity, "centroid": centroid, "onsets": onsets}
UNITS = {"intensity": "dB", "centroid": "Hz", "onsets": "dB"}


def savitzky_golay(curve: Tensor, window: int = WINDOW, order: int = ORDER) -> Tensor:
    """`curve` [B, K] smoothed: each value is that of the polynomial of degree `order` that fits best the `window`
    values around it (Savitzky and Golay 1964). A fixed FIR filter; the ends are mirrored. Short curves take a shorter
    window, of the largest odd length below theirs.
    """
    window = min(window, curve.shape[1] - 1 + curve.shape[1] % 2)
    if window <= order + 1:
        return curve
    taps = _taps(window, order).to(curve)
    padded = torch.nn.functional.pad(curve[:, None], (window // 2, window // 2), mode="reflect")
    return torch.nn.functional.conv1d(padded, taps[None, None])[:, 0]


@functools.lru_cache(maxsize=16)
def _taps(window: int, order: int) -> Tensor:
    places = torch.arange(window, dtype=torch.float64) - window // 2
    powers = (places / max(1, window // 2))[:, None] ** torch.arange(order + 1)
    return torch.linalg.pinv(powers)[0]
