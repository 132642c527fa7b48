"""The check of a CSV of sounds before hours are spent on it: missing, unreadable, silent, too short, double.

A sound is judged by what the training hears of it, which depends on the codec (`soundctm.data.audio.READINGS`): of
several channels the first, or the mean of all.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import soundfile
from torch import Tensor
from tqdm import tqdm

from soundctm.data.audio import READINGS, check_scale, read_audio
from soundctm.data.dataset import CaptionedFile, read_captioned_files
from soundctm.errors import UserError
from soundctm.files import whole_file

SHORTEST = 0.1  # seconds
QUIETEST = 1e-4  # peak of |x| below which a clip is silence: -80 dBFS

PROBLEMS = ("missing", "unreadable", "silent", "too short", "double row", "same content")


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with one row; `line` counts from 1 with the header."""

    line: int
    file_name: str
    problem: str
    detail: str


def check_table(
    table: str | os.PathLike,
    root: str | os.PathLike | None = None,
    workers: int | None = None,
    progress: bool = True,
    reading: str = READINGS[0],
) -> list[Problem]:
    """The problems of all rows, by line. Files are read by several threads: decoding leaves Python's lock alone.

    `reading` is the codec's, one of `READINGS`. Raises UserError when the CSV itself cannot be read.
    """
    files = read_captioned_files(table, root, must_exist=False)
    paths = list(dict.fromkeys(file.path for file in files))
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        looks = tqdm(pool.map(partial(_look_at, reading=reading), paths), "check", len(paths), disable=not progress)
        return list(_problems(files, dict(zip(paths, looks, strict=True))))


def write_report(problems: Sequence[Problem], path: str | os.PathLike) -> None:
    """A CSV `line,file_name,problem,detail`, whole or not at all. Raises UserError when it cannot be written."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in dataclasses.fields(Problem)])
        writer.writerows(dataclasses.astuple(problem) for problem in problems)


def summary(problems: Sequence[Problem]) -> str:
    """ "2 missing, 1 silent", or "no problem"."""
    counts = Counter(problem.problem for problem in problems)
    return ", ".join(f"{counts[name]} {name}" for name in PROBLEMS if counts[name]) or "no problem"


def _look_at(path: Path, reading: str) -> tuple[str, str, str]:
    """(problem or "", detail, hash of the content) of one file."""
    try:
        if not path.is_file():
            return "missing", "", ""
        channels = read_audio(path)
        if reading == "plain":
            check_scale(channels, str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rate = soundfile.info(os.fsencode(path)).samplerate
    except (UserError, OSError) as error:
        return "unreadable", str(error), ""
    if silence := _silence(channels, reading):
        return "silent", silence, digest
    if (seconds := channels.shape[1] / rate) < SHORTEST:
        return "too short", f"{seconds:.3f} s", digest
    return "", "", digest


def _silence(channels: Tensor, reading: str) -> str:
    """What is silent of a sound [channels, n], if that is what the training hears; else ""."""
    heard = channels.mean(0) if reading == "plain" else channels[0]
    if (peak := heard.abs().max().item()) >= QUIETEST:
        return ""
    if len(channels) == 1:
        return f"it peaks at {peak:.2g}"
    what = f"the mean of its {len(channels)} channels" if reading == "plain" else "its first channel, the one in use,"
    return f"{what} peaks at {peak:.2g}, the loudest channel at {channels.abs().max().item():.2g}"


def _problems(files: Sequence[CaptionedFile], looked: dict[Path, tuple[str, str, str]]) -> Iterator[Problem]:
    rows: dict[CaptionedFile, int] = {}
    contents: dict[str, Path] = {}
    for file in files:
        line, name, (problem, detail, digest) = file.line, file.path.name, looked[file.path]
        if problem:
            yield Problem(line, name, problem, detail)
        if file in rows:
            yield Problem(line, name, "double row", f"as line {rows[file]}")
        rows.setdefault(file, line)
        if digest and (first := contents.setdefault(digest, file.path)) != file.path:
            yield Problem(line, name, "same content", f"as {first.name}")
