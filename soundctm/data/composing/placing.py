"""Placing clips on a short canvas: windows of long clips, loops of short textures, repeated events. All numpy [n]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundctm.data.audio import SAMPLING_RATE

FADE = SAMPLING_RATE // 100  # 10 ms where a clip is cut
CANDIDATES = 12  # windows looked at per draw
LOUD_ENOUGH = 0.35  # share of the loudest candidate's energy that a window must have


def faded(clip: np.ndarray, at_start: bool, at_end: bool, length: int = FADE) -> np.ndarray:
    """A copy with linear fades of `length` samples, so that cuts do not click."""
    clip = np.array(clip, dtype=np.float32)
    length = min(length, len(clip) // 2)
    if length:
        ramp = np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
        if at_start:
            clip[:length] *= ramp
        if at_end:
            clip[-length:] *= ramp[::-1]
    return clip


def window(clip: np.ndarray, length: int, rng: np.random.Generator, from_start: float = 0.0) -> np.ndarray:
    """A part of a longer clip with sound in it; with probability `from_start` its beginning (attacks lie there)."""
    if len(clip) <= length:
        return np.array(clip, dtype=np.float32)
    start = 0
    if rng.random() >= from_start:
        energy = np.concatenate([[0.0], np.cumsum(clip.astype(np.float64) ** 2)])
        starts = rng.integers(0, len(clip) - length + 1, CANDIDATES)
        energies = energy[starts + length] - energy[starts]
        loud = starts[energies >= LOUD_ENOUGH * energies.max()]
        start = int(loud[rng.integers(len(loud))])
    return faded(clip[start : start + length], at_start=start > 0, at_end=start + length < len(clip))


def loop(clip: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A short continuous sound made long: copies overlapping by a quarter (at most 0.25 s) with equal-power fades."""
    overlap = min(len(clip) // 4, SAMPLING_RATE // 4)
    if overlap < 8:
        return np.resize(clip, length).astype(np.float32)
    fade_in = np.sin(np.linspace(0, np.pi / 2, overlap, dtype=np.float32))
    hop = len(clip) - overlap
    copies = -(-length // hop) + 2
    out = np.zeros(hop * copies + overlap, dtype=np.float32)
    for i in range(copies):
        copy = np.array(clip, dtype=np.float32)
        copy[:overlap] *= fade_in
        copy[-overlap:] *= fade_in[::-1]
        out[i * hop : i * hop + len(clip)] += copy
    start = overlap + int(rng.integers(0, hop))  # past the fade of the first copy, at any phase
    return faded(out[start : start + length], at_start=False, at_end=True)


def place_once(clip: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """One event on silence: near the beginning half of the time, else anywhere it fits."""
    out = np.zeros(length, dtype=np.float32)
    clip = clip if len(clip) <= length else window(clip, length, rng, from_start=0.8)
    room = length - len(clip)
    offset = int(rng.integers(0, (min(room, SAMPLING_RATE // 8) if rng.random() < 0.5 else room) + 1))
    out[offset : offset + len(clip)] = clip
    return out


def place_repeated(
    clips: Sequence[np.ndarray], length: int, period: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Events drawn from `clips` with varied gaps and levels: ([length], number of events).

    `period` bounds the mean distance of onsets in seconds. Now and then the events stop before the end.
    """
    out = np.zeros(length, dtype=np.float32)
    mean = rng.uniform(*period) * SAMPLING_RATE
    most = int(rng.integers(2, 6)) if rng.random() < 0.3 else 10_000
    jitter = rng.uniform(0.03, 0.25)
    position, events = rng.uniform(0, min(mean, 0.3 * SAMPLING_RATE)), 0
    while position < length - SAMPLING_RATE // 50 and events < most:
        clip = clips[rng.integers(len(clips))]
        start = int(position)
        part = faded(clip[: length - start], at_start=False, at_end=len(clip) > length - start)
        out[start : start + len(part)] += part * np.float32(rng.uniform(0.6, 1.0))
        position += max(mean * (1 + jitter * rng.standard_normal()), 0.3 * mean)
        events += 1
    return out, events
