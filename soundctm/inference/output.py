"""The output folder: can it be written, what must still be made, and writing of wavs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from soundctm.errors import UserError
from soundctm.inference.manifest import Entry


def ensure_writable(folder: Path) -> None:
    """Make `folder` if it is not there and write a file into it. Raises UserError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"the output folder {folder} cannot be written: {error.strerror}") from error


def to_make(wanted: Iterable[Entry], done: dict[str, Entry], folder: Path, overwrite: bool) -> list[Entry]:
    """The entries whose clips do not exist yet; all of those that differ from what exists when `overwrite`.

    Raises UserError when a wav that is in the way was made with other settings, or not by this script.
    """
    missing = []
    for entry in wanted:
        path = folder / entry.file
        there = path.exists()
        earlier = done.get(entry.file)
        if there and earlier is not None and earlier.settings() == entry.settings():
            continue
        if there and not overwrite:
            why = f"with {earlier.difference(entry)}" if earlier else "by something else (manifest.csv lacks it)"
            raise UserError(f"{path} was made {why}; give --overwrite, or another --output_dir")
        if path.is_dir():
            raise UserError(f"{path} is a folder; give another --output_dir")
        missing.append(entry)
    return missing


def remove_clips(folder: Path, files: Iterable[str]) -> None:
    """Delete the wavs and spectrograms that will be made anew, so that none is taken for a new one afterwards."""
    for name in files:
        (folder / name).unlink(missing_ok=True)
        (folder / name).with_suffix(".png").unlink(missing_ok=True)


def to_int16(audio: np.ndarray) -> np.ndarray:
    """16-bit samples of float audio in [-1, 1]: rounded, and 1.0 becomes 32767 instead of wrapping to -32768."""
    return np.clip(np.rint(np.asarray(audio, np.float64) * 32768.0), -32768, 32767).astype(np.int16)


def write_temporary_wav(path: Path, audio: np.ndarray, sampling_rate: int) -> Path:
    """Write mono `audio` [samples] as 16-bit PCM beside `path`; `os.replace` the returned file to `path`."""
    import soundfile

    temporary = path.with_name(f".{path.stem[:100]}.{os.getpid()}.tmp")
    soundfile.write(os.fsencode(temporary), to_int16(audio), sampling_rate, subtype="PCM_16", format="WAV")
    return temporary
