"""What the page draws of a sound: its outline, its mel spectrogram with the places of its axis, its loudness."""

from __future__ import annotations

import base64
import math
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import soundfile

from soundctm.errors import UserError
from soundctm.files.writing import reason

POINTS = 600  # of the outline: lowest and highest sample of as many parts
COLUMNS = 640  # of the spectrogram, at most
LEAST_HOP = 128  # samples
BLOCK = 0.4  # seconds over which loudness is measured (ITU-R BS.1770); what is shorter is repeated
KEPT = 400  # pictures in memory, of some 100 KB


class Pictures:
    """Pictures of files, each drawn once. May be called from several threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._lock = kept, Lock()
        self._drawn: OrderedDict[tuple, dict[str, Any]] = OrderedDict()

    def of(self, path: Path) -> dict[str, Any]:
        """The picture of a sound file. Raises UserError for one that cannot be read."""
        try:
            told = path.stat()
        except OSError as error:
            raise UserError(f"{path.name} cannot be read: {error.strerror}") from error
        key = (os.fspath(path), told.st_mtime_ns, told.st_size)
        with self._lock:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                return self._drawn[key]
        drawn = picture(*_read(path))
        with self._lock:
            self._drawn[key] = drawn
            while len(self._drawn) > self._kept:
                self._drawn.popitem(last=False)
        return drawn


def picture(samples: np.ndarray, rate: int) -> dict[str, Any]:
    """For the page, of `samples` [n, channels] at `rate` Hz.

    `outline`: POINTS pairs of lowest and highest sample, as base64 of int8. `levels`: rows from the lowest frequency
    up, each of `columns` bytes, 255 is the loudest and 0 is `range_db` below. `ticks`: [Hz, place from 0 to 1].
    `loudness` in LUFS, null for silence.
    """
    from soundctm.mels import RANGE_DB, mel_db, ticks

    mono = samples.mean(1)
    hop = max(LEAST_HOP, math.ceil(len(mono) / COLUMNS))
    levels = np.rint((mel_db(mono, rate, hop) / RANGE_DB + 1) * 255).astype(np.uint8)
    return {
        "seconds": len(mono) / rate,
        "sampling_rate": rate,
        "channels": samples.shape[1],
        "outline": _base64(_outline(mono)),
        "rows": levels.shape[0],
        "columns": levels.shape[1],
        "levels": _base64(levels),
        "range_db": RANGE_DB,
        "ticks": ticks(rate),
        "loudness": _loudness(samples, rate),
        "peak": float(np.abs(samples).max(initial=0.0)),
    }


def _outline(mono: np.ndarray) -> np.ndarray:
    edges = np.linspace(0, len(mono), min(POINTS, len(mono)) + 1).astype(int)[:-1]
    pairs = np.stack([np.minimum.reduceat(mono, edges), np.maximum.reduceat(mono, edges)], 1)
    return np.rint(pairs.clip(-1, 1) * 127).astype(np.int8)


def _loudness(samples: np.ndarray, rate: int) -> float | None:
    import torch
    import torchaudio.functional as F

    least = math.ceil(BLOCK * rate) + 1
    wave = torch.from_numpy(np.ascontiguousarray(samples.T[:2]))
    wave = wave.repeat(1, math.ceil(least / wave.shape[1]))
    found = float(F.loudness(wave, rate))
    return round(found, 2) if math.isfinite(found) else None


def _read(path: Path) -> tuple[np.ndarray, int]:
    try:
        return soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise UserError(f"{path.name} cannot be read as a sound: {reason(error)}") from error


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
