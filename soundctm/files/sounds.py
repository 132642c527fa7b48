"""Sound files: wav, flac and ogg, told apart by the ending of their names, written whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from soundctm.errors import UserError
from soundctm.files.writing import reason, write_whole

SUBTYPES = ("16", "24", "float")  # bits of an integer sample; float is 32 bits
FORMATS = {  # ending: what a sample may be; the first is the default
    ".wav": ("16", "24", "float"),
    ".flac": ("16", "24"),
    ".ogg": (),  # Vorbis has no samples of its own
}
_CODES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}


def check_sound_file(path: str | os.PathLike, subtype: str | None = None) -> None:
    """Raises UserError when `path` has no ending of a sound file, or one that cannot hold samples of `subtype`."""
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise UserError(f"{path} has no ending of a sound file; they are {', '.join(FORMATS)}")
    if subtype is not None and subtype not in SUBTYPES:
        raise UserError(f"subtype is {subtype!r}; it must be one of {', '.join(SUBTYPES)}")
    if subtype is not None and subtype not in FORMATS[ending]:
        takes = " or ".join(FORMATS[ending]) or "no subtype: it is compressed with loss"
        raise UserError(f"{path} cannot hold samples of subtype {subtype}; {ending} takes {takes}")


def write_sound(path: str | os.PathLike, audio: np.ndarray, sampling_rate: int, subtype: str | None = None) -> None:
    """Write mono `audio` [samples] in [-1, 1] at `sampling_rate` Hz. Raises UserError, see `check_sound_file`."""
    write_whole(path, sound_bytes(audio, sampling_rate, Path(path).suffix, subtype, path))


def sound_bytes(
    audio: np.ndarray,
    sampling_rate: int,
    ending: str = ".wav",
    subtype: str | None = None,
    name: str | os.PathLike | None = None,
) -> bytes:
    """The content of the sound file; `name` is the one in messages. Raises UserError."""
    import soundfile

    name = name or f"the sound{ending}"
    check_sound_file(name, subtype)
    ending = ending.lower()
    kind = subtype or next(iter(FORMATS[ending]), None)
    samples = np.asarray(audio, np.float32)
    if kind in ("16", "24"):
        samples = to_integers(samples, int(kind))
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, samples, sampling_rate, subtype=_CODES.get(kind), format=ending[1:].upper())
    except (soundfile.SoundFileError, ValueError) as error:
        raise UserError(f"{name} cannot be written at {sampling_rate} Hz: {reason(error)}") from error
    return buffer.getvalue()


def to_integers(audio: np.ndarray, bits: int) -> np.ndarray:
    """Whole samples of float audio in [-1, 1]: int16 of 16 `bits`, or 24 as the upper ones of int32.

    Rounded, and 1.0 becomes the largest number instead of wrapping to the smallest.
    """
    scale = 2 ** (bits - 1)
    whole = np.clip(np.rint(np.asarray(audio, np.float64) * scale), -scale, scale - 1)
    return whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) * 256
