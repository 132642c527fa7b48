"""`manifest.csv`: one line per finished clip, with everything that decides how it sounds.

A line is written when the wav is complete under a temporary name, just before it gets its own name. So a clip is done
when its line and its file are both there, and a wav without a line was not made by these scripts. A clip that takes the
place of an older one is announced by a line without results, so that a kill leaves the old clip or the new one, and the
next run knows that it is ours and makes it again.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from soundctm.errors import UserError
from soundctm.files import append_line, inside, write_whole
from soundctm.files.reading import MOST_TABLE_BYTES, read_fields, read_text

log = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
RESULTS = ("file", "checkpoint", "seconds", "generation_seconds", "score", "chosen_seed", "control_error")


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
    steering: str = ""  # JSON of the options of soundctm.inference.steering that were given
    score: str = ""  # agreement with the caption, where it was ranked
    chosen_seed: str = ""  # of the best candidate, where only that was kept
    control_error: str = ""  # mean squared distance from the curve, in squared units of the measure

    @property
    def is_pending(self) -> bool:
        """Is the line an announcement, after which the clip was replaced or not?"""
        return not self.seconds

    def settings(self) -> dict[str, str]:
        """What decides the sound; the checkpoint counts by its content, not by where it lies."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in RESULTS}

    def difference(self, other: Entry) -> str:
        """For people: the settings in which `self` differs from `other`."""
        mine, theirs = self.settings(), other.settings()
        return ", ".join(f"{name} {mine[name]} and not {theirs[name]}" for name in mine if mine[name] != theirs[name])


COLUMNS = [field.name for field in dataclasses.fields(Entry)]
OLDER = COLUMNS[: COLUMNS.index("steering")]  # of manifests before clips could be steered


class Manifest:
    """The manifest of an output folder. Several processes may `append` at once; one alone may `prepare`.

    When the file is removed while clips are made, each process writes its lines again.
    """

    def __init__(self, folder: str | os.PathLike, name: str = MANIFEST) -> None:
        self.path = Path(folder) / name
        self._mine: list[str] = []  # lines of this process
        self._file: int | None = None  # number of the file that has them

    def read(self) -> dict[str, Entry]:
        """The newest entry of every file. Raises UserError for another table, and for names that lead out."""
        if not self.path.exists():
            return {}
        text = read_text(self.path, MOST_TABLE_BYTES, strict=False)
        columns, *rows = read_fields(text[: text.rfind("\n") + 1], str(self.path)) or [COLUMNS]
        if columns not in (COLUMNS, OLDER):
            raise UserError(f"{self.path} was not written by this version of the script; use another --output_dir")
        complete = [row for row in rows if len(row) == len(columns)]
        if len(complete) < len(rows):
            log.warning("%s: %d damaged lines are passed over", self.path, len(rows) - len(complete))
        entries = [Entry(**dict(zip(columns, row, strict=True))) for row in complete]
        for entry in entries:
            inside(self.path.parent, entry.file, self.path, links=True)
        return {entry.file: entry for entry in entries}

    def prepare(self, without: Collection[str] = ()) -> None:
        """Write the file anew: one line per clip but for those `without`, and none that was interrupted. Raises
        UserError."""
        lines = [_line(_values(entry)) for entry in self.read().values() if entry.file not in without]
        write_whole(self.path, "\n".join([_line(COLUMNS), *lines]) + "\n")
        self._mine = []

    def append(self, entry: Entry) -> None:
        """Add a line, whole or not at all. Raises UserError when that fails."""
        self._mine.append(_line(_values(entry)))
        if not self.path.exists():
            append_line(self.path, _line(COLUMNS))
        lines = self._mine if self._number() != self._file else self._mine[-1:]
        for line in lines:
            append_line(self.path, line)
        self._file = self._number()

    def _number(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except OSError:
            return None


def line_of(entry: Entry) -> bytes:
    """The line of an entry as it is appended."""
    return (_line(_values(entry)) + "\n").encode("utf-8", "surrogateescape")


def _values(entry: Entry) -> list[str]:
    return [getattr(entry, name) for name in COLUMNS]


def _line(values: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()
