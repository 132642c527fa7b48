"""Files of the history as they are sent."""

from __future__ import annotations

import os
from pathlib import Path

import soundfile

from soundctm.errors import UserError
from soundctm.files.sounds import sound_bytes
from soundctm.files.writing import reason

MEDIA = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}
_SUBTYPES = {16: "16", 24: "24", 32: "float"}


def media_of(path: Path) -> str:
    """The media type of a sound file."""
    return MEDIA.get(path.suffix.lower(), "application/octet-stream")


def converted(path: Path, kind: str, bits: int) -> bytes:
    """The sound as a file of `kind` ("wav" or "flac") with all its channels. Raises UserError."""
    try:
        samples, rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise UserError(f"{path.name} cannot be read as a sound: {reason(error)}") from error
    return sound_bytes(samples, rate, f".{kind}", _SUBTYPES[bits])
