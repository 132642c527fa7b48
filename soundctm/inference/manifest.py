"""`manifest.csv`: one line per finished clip, with everything that decides how it sounds.

A line is written when the wav is complete under a temporary name, just before it gets its own name. So a clip is done
when its line and its file are both there, and a wav without a line was not made by these scripts.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from soundctm.errors import UserError

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class Entry:
    """A line of the manifest. All values are text, as in the file; "" where a setting has no effect."""

    file: str
    caption: str
    seed: str
    sampler: str
    steps: str
    omega: str
    nu: str
    gamma: str
    weights: str
    checkpoint: str
    fingerprint: str  # of the checkpoint's files, see soundctm.inference.model
    dtype: str
    sampling_rate: str  # Hz, as asked for
    target_length: str  # seconds, as asked for
    seconds: str = ""  # of sound
    generation_seconds: str = ""  # it took, its share of the batch

    def settings(self) -> dict[str, str]:
        """What decides the sound; the checkpoint counts by its content, not by where it lies."""
        results = ("file", "checkpoint", "seconds", "generation_seconds")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in results}

    def difference(self, other: Entry) -> str:
        """For people: the settings in which `self` differs from `other`."""
        mine, theirs = self.settings(), other.settings()
        return ", ".join(f"{name} {mine[name]} and not {theirs[name]}" for name in mine if mine[name] != theirs[name])


COLUMNS = [field.name for field in dataclasses.fields(Entry)]


class Manifest:
    """The manifest of an output folder. Several processes may `append` at once; one alone may `prepare`."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / MANIFEST

    def read(self) -> dict[str, Entry]:
        """The newest entry of every file. Raises UserError when the file is no manifest of ours."""
        if not self.path.exists():
            return {}
        rows = csv.DictReader(io.StringIO(self._whole_lines(), newline=""))
        if rows.fieldnames is not None and list(rows.fieldnames) != COLUMNS:
            raise UserError(f"{self.path} was not written by this version of the script; use another --output_dir")
        complete = (row for row in rows if None not in row and None not in row.values())
        return {row["file"]: Entry(**row) for row in complete}

    def prepare(self, forget: Collection[str] = ()) -> None:
        """Write the file anew without the entries of the files in `forget`, and without an interrupted last line."""
        entries = self.read()
        text = _line(COLUMNS) + "".join(_line(_values(e)) for name, e in entries.items() if name not in forget)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.write_bytes(text.encode("utf-8"))
        os.replace(temporary, self.path)

    def append(self, entry: Entry) -> None:
        """Add a line, in one write, so that lines of several processes do not mix."""
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, _line(_values(entry)).encode("utf-8"))
        finally:
            os.close(handle)

    def _whole_lines(self) -> str:
        try:
            text = self.path.read_bytes().decode("utf-8", errors="replace")
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        return text[: text.rfind("\n") + 1]


def _values(entry: Entry) -> list[str]:
    return [getattr(entry, name) for name in COLUMNS]


def _line(values: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()
