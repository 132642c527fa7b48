"""Sounds that a user gives: what they may be, found out without believing their names or their headers."""

from __future__ import annotations

import io

from soundctm.errors import UserError

ENDINGS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}
_FORMATS = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3"}
MOST_BYTES = 256 * 2**20  # of a file
MOST_SECONDS = 600
MOST_CHANNELS, LOWEST_RATE, HIGHEST_RATE = 16, 1000, 384_000
BLOCK = 2**16  # frames that are decoded together


def ending_of(content: bytes, name: str) -> str:
    """The ending that the file's content calls for. All of it is decoded once, a block at a time.

    Raises UserError, with `name`, for what is no sound, is longer than MOST_SECONDS, holds no samples, or samples that
    are not finite.
    """
    import numpy as np
    import soundfile

    if len(content) > MOST_BYTES:
        raise UserError(f"{name} has {len(content) >> 20} MiB; a sound of at most {MOST_BYTES >> 20} MiB is taken")
    known = ", ".join(ENDINGS)
    frames, peak = 0, 0.0
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            ending, rate = _FORMATS.get(sound.format), sound.samplerate
            if ending is None:
                raise UserError(f"{name} is {sound.format}; {known} are taken")
            if not (LOWEST_RATE <= rate <= HIGHEST_RATE and sound.channels <= MOST_CHANNELS):
                raise UserError(
                    f"{name} has {sound.channels} channels at {rate} Hz; at most {MOST_CHANNELS} channels at "
                    f"{LOWEST_RATE} to {HIGHEST_RATE} Hz are taken"
                )
            while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
                frames += len(block)
                if not np.isfinite(block).all():
                    raise UserError(f"{name} holds NaN or infinite samples")
                if frames > MOST_SECONDS * rate:
                    raise UserError(f"{name} is longer than {MOST_SECONDS} s, the most that is taken")
                peak = max(peak, float(np.abs(block).max()))
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise UserError(f"{name} cannot be read as a sound ({known} are taken): {_reason(error)}") from error
    if frames == 0:
        raise UserError(f"{name} holds no samples")
    return ending


def _reason(error: Exception) -> str:
    """What libsndfile says; its sentences begin with the address of the object that was read."""
    return str(error).rsplit(": ", 1)[-1].strip()
