"""Clips for pages: read, shortened, and encoded small enough to be embedded."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path

import numpy as np
import soundfile
import torch

from soundctm.data.audio import read_audio, reason_of
from soundctm.data.resampling import resample
from soundctm.errors import UserError

MAX_SECONDS = 10.24  # of a clip on a page
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)  # Hz that the codec knows
OPUS_KBPS = 40  # mono: hard to tell from the original at 16 kHz
# libsndfile spreads Opus' bit rates evenly over its compression levels: level 0 is 256 kbit/s, level 1 is 6 kbit/s.
OPUS_MOST_KBPS, OPUS_LEAST_KBPS = 256, 6


@dataclasses.dataclass(frozen=True)
class NamedSound:
    """A clip and what to call it: `audio` float32 [samples] in [-1, 1] at `sampling_rate` Hz."""

    name: str
    audio: np.ndarray
    sampling_rate: int

    @property
    def seconds(self) -> float:
        return len(self.audio) / self.sampling_rate


def read_sound(path: str | os.PathLike, sampling_rate: int, name: str | None = None) -> NamedSound:
    """The first MAX_SECONDS of a file's first channel (as in the metrics), resampled, called `name` or after the file.

    Raises UserError as `soundctm.data.audio.read_audio`.
    """
    mono = read_audio(path, sampling_rate)[0, : round(MAX_SECONDS * sampling_rate)]
    return NamedSound(Path(path).name if name is None else name, mono.numpy(), sampling_rate)


def file_rate(path: str | os.PathLike) -> int:
    """The sampling rate of a file in Hz. Raises UserError for what is no sound file."""
    try:
        return int(soundfile.info(os.fsencode(path)).samplerate)
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} cannot be read as a sound file: {reason_of(error)}") from error


def opus_bytes(sound: NamedSound) -> bytes:
    """The sound as an Ogg Opus file, resampled to the next rate that Opus knows if it has another."""
    rate = next((known for known in OPUS_RATES if known >= sound.sampling_rate), OPUS_RATES[-1])
    audio = resample(torch.from_numpy(np.ascontiguousarray(sound.audio)), sound.sampling_rate, rate).numpy()
    level = (OPUS_MOST_KBPS - OPUS_KBPS) / (OPUS_MOST_KBPS - OPUS_LEAST_KBPS)
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, format="OGG", subtype="OPUS", compression_level=level)
    return buffer.getvalue()
