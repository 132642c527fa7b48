"""Training sounds for the codec: windows composed from the clips of a corpus, a pure function of (seed, index).

Half of the corpus clips are shorter than a second, so a window repeats its clip with varied gaps and gains, and often
lays a second clip under it. The result has the levels that the audio loader gives: mean removed, peak 0.5.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from soundctm.data.audio import read_audio
from soundctm.data.rumble import remove_rumble
from soundctm.errors import UserError
from soundctm.files import inside
from soundctm.files.reading import read_rows

PEAK = 0.5  # full scale of a loaded clip


class CodecSounds:
    """The clips of one split in memory, and windows made of them."""

    def __init__(
        self, corpus: str | os.PathLike, split: str, sampling_rate: int = 16000, highpass: float = 0.0
    ) -> None:
        """Read `corpus`/corpus.csv and the clips of `split`, without rumble below `highpass` Hz.

        Raises UserError if there are none, for a wrong table and for a clip that cannot be read.
        """
        table = Path(corpus) / "corpus.csv"
        if not table.is_file():
            raise UserError(f"no corpus table at {table}; build the corpus first (see data/README.md)")
        _, found = read_rows(table, ("file_name", "label", "split"), allow_empty=True)
        rows = []  # (sound, label)
        for row in found:
            path = inside(table.parent, row.cells["file_name"], f"{table}, line {row.line}", links=True)
            if row.cells["split"] == split and path.is_file():
                rows.append((path, row.cells["label"]))
        if not rows:
            raise UserError(f"{table} lists no existing clip of the split {split}")
        self.clips = [_read(path, sampling_rate, highpass) for path, _ in rows]
        counts = Counter(label for _, label in rows)
        # A label's share grows with the root of its number of clips: rare sounds are heard, common ones stay common.
        weights = np.array([counts[label] ** -0.5 for _, label in rows])
        self.cumulative = np.cumsum(weights / weights.sum())

    def window(self, seed: int, index: int, samples: int) -> Tensor:
        """The window number `index`, [samples] float32."""
        rng = np.random.default_rng((seed, index))
        sound = self._line(rng, samples)
        if rng.random() < 0.3:
            sound = sound + 10 ** rng.uniform(-1.0, 0.0) * self._line(rng, samples)
        if rng.random() < 0.1:
            sound = sound + 10 ** rng.uniform(-4.0, -2.0) * rng.standard_normal(samples).astype(np.float32)
        sound = normalise(sound)
        if rng.random() < 0.2:
            sound = sound * 10 ** rng.uniform(-1.0, 0.25)
        return torch.from_numpy(sound.astype(np.float32))

    def batch(self, seed: int, step: int, size: int, samples: int) -> Tensor:
        """The windows of training step `step`, [size, samples]."""
        return torch.stack([self.window(seed, step * size + row, samples) for row in range(size)])

    def excerpts(self, count: int, samples: int) -> Tensor:
        """`count` clips spread over the split, cut or repeated to [count, samples]: the same for every validation."""
        chosen = np.linspace(0, len(self.clips) - 1, num=min(count, len(self.clips))).astype(int)
        filled = [np.resize(self.clips[i], samples) for i in chosen]
        return torch.from_numpy(np.stack([normalise(clip) for clip in filled]).astype(np.float32))

    def _line(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """One clip: a random cut if it is long, else repeated from a random start; peak 1."""
        pick = int(np.searchsorted(self.cumulative, rng.random()))
        clip = self.clips[min(pick, len(self.clips) - 1)]
        if len(clip) >= samples:
            start = rng.integers(len(clip) - samples + 1)
            return normalise(clip[start : start + samples], 1.0)
        line = np.zeros(samples, dtype=np.float32)
        position = int(rng.integers(-len(clip) // 2, samples - len(clip) // 2))
        repeat = rng.random() < 0.7
        while position < samples:
            begin, end = max(position, 0), min(position + len(clip), samples)
            line[begin:end] += rng.uniform(0.5, 1.0) * clip[begin - position : end - position]
            position += len(clip) + int(samples * rng.uniform(0.0, 0.4))
            if not repeat:
                break
        return normalise(line, 1.0)


@dataclasses.dataclass
class WindowRows:
    """Windows [B, samples] and their numbers in the global batch."""

    waveforms: Tensor
    rows: range


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of every step, `total` each, as the training loop asks for them."""

    sounds: CodecSounds
    seed: int
    total: int
    samples: int

    def batch(self, step: int, rows: range) -> WindowRows:
        """The windows of `rows` of a step."""
        windows = [self.sounds.window(self.seed, step * self.total + row, self.samples) for row in rows]
        return WindowRows(torch.stack(windows), rows)


def normalise(sound: np.ndarray, peak: float = PEAK) -> np.ndarray:
    """Remove the mean and scale to `peak`; silence stays silence."""
    sound = sound - sound.mean()
    largest = np.abs(sound).max()
    return sound * (peak / largest) if largest > 0 else sound


def _read(path: Path, sampling_rate: int, highpass: float) -> np.ndarray:
    sound = remove_rumble(read_audio(path, sampling_rate)[0], sampling_rate, highpass)
    return normalise(sound.numpy(), 1.0).astype(np.float32)
