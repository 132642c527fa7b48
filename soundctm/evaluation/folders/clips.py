"""The sound files of a folder: which they are, and their contents, read by several threads.

A file is decoded once and becomes one waveform per `Reading` that the extractors ask for. soundfile and torch let go
of Python's lock, so threads are enough.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from soundctm.data.audio import decode_audio
from soundctm.errors import UserError
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders.waveforms import waveform_of

T = TypeVar("T")
R = TypeVar("R")

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
AHEAD = 4  # files per thread that are read before they are needed
SILENCE = 1e-4  # largest |sample| of a clip that counts as silent, -80 dBFS
BEYOND = 10.0  # largest |sample| above which floats cannot be meant to lie in [-1, 1]: 20 dB over full scale


@dataclass(frozen=True)
class Sound:
    """A decoded file: `waveforms` holds float32 [samples] or [2, samples] in [-1, 1] per reading."""

    digest: str  # sha256 of the file
    waveforms: Mapping[Reading, Tensor]
    seconds: float
    peak: float  # largest |sample| of the first channel


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be evaluated, and why."""

    name: str
    reason: str  # one sentence that names the file


def list_clips(folder: str | os.PathLike) -> list[Path]:
    """The wav, flac, ogg and mp3 files of a folder and its subfolders, sorted by name; hidden ones are none.

    Raises UserError when there is no such folder, and for fewer than two files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}" + (": it is a file" if folder.exists() else ""))
    clips = sorted(_sounds_below(folder), key=lambda path: clip_name(path, folder))
    if not clips:
        raise UserError(f"{folder} holds no wav, flac, ogg or mp3 files, nor do its subfolders")
    if len(clips) == 1:
        raise UserError(f"{folder} holds one clip, {clips[0].name}; an evaluation needs at least two")
    return clips


def clip_name(path: Path, folder: str | os.PathLike) -> str:
    """What a clip of `folder` is called: its path below it, `birds/a.wav`."""
    return path.relative_to(folder).as_posix()


def _sounds_below(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()  # of folders, which links may make endless
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and name.lower().endswith(SUFFIXES) and path.is_file():
                yield path


def file_digest(path: Path) -> str | Unreadable:
    """The sha256 of a file."""
    content = _content(path)
    return content if isinstance(content, Unreadable) else _digest(content)


def read_sound(path: Path, readings: Iterable[Reading]) -> Sound | Unreadable:
    """Decode a file and read it as `readings` ask. Digest and waveforms are those of the same bytes."""
    content = _content(path)
    if isinstance(content, Unreadable):
        return content
    try:
        samples, rate = decode_audio(io.BytesIO(content), str(path), whole=True)
    except UserError as error:
        return Unreadable(path.name, str(error))
    waveforms = {reading: waveform_of(samples, rate, reading) for reading in readings}
    return Sound(_digest(content), waveforms, samples.shape[1] / rate, samples[0].abs().max().item())


def in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`function` of every item, in their order, by `threads` at once (0: by the caller's), a few items ahead."""
    if threads < 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _content(path: Path) -> bytes | Unreadable:
    try:
        return path.read_bytes()
    except OSError as error:
        return Unreadable(path.name, f"{path} cannot be read: {error.strerror}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
