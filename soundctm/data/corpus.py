"""The corpus table: one row per clip, and the clips of a built corpus folder.

A corpus folder holds `clips/` (16 kHz mono Ogg Vorbis) and `corpus.csv`; `soundctm.data.build_corpus` makes one from
Debian packages. The repository itself keeps only the table (`data/corpus.csv`).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from soundctm.data.audio import HIGHEST_RATE, SAMPLING_RATE, read_audio
from soundctm.data.rumble import remove_rumble
from soundctm.errors import UserError
from soundctm.files import inside
from soundctm.files.reading import Row, read_rows
from soundctm.places import ROOT

DATA_FOLDER = ROOT / "data"
LONGEST = 86_400.0  # seconds that a row may say
NEEDED = ("file_name", "caption", "label", "split", "group", "package", "yamnet_top3")


@dataclasses.dataclass(frozen=True)
class CorpusRow:
    """One clip: where it lies below the corpus folder, what it is, and what YAMNet hears in it."""

    file_name: str
    caption: str
    label: str
    split: str  # "train" or "test", by group
    group: str  # variants of one recording share it
    package: str
    heard: tuple[str, ...]  # AudioSet classes, loudest first
    seconds: float = 1.0  # as long as clips count in a table that does not say
    source_rate: int = SAMPLING_RATE  # Hz of the recording before it was resampled


def load_corpus(table: str | os.PathLike, split: str | None = None) -> list[CorpusRow]:
    """Rows of a corpus table, all or those of one split. Raises UserError naming what is missing."""
    table = Path(table)
    if table.is_dir():
        table = table / "corpus.csv"
    if not table.is_file():
        raise UserError(f"no corpus table at {table}; python -m soundctm.data.build_corpus makes one")
    _, found = read_rows(table, NEEDED, allow_empty=True)
    rows = [_row(row, table) for row in found]
    rows = [row for row in rows if split is None or row.split == split]
    if not rows:
        raise UserError(f"{table} holds no rows" + (f" of the split {split!r}" if split else ""))
    return rows


def _row(row: Row, table: Path) -> CorpusRow:
    cells = row.cells
    inside(table.parent, cells["file_name"], f"{table}, line {row.line}", links=True)
    seconds = read_number(cells, "seconds", 1.0, 0, LONGEST, f"{table}, line {row.line}")
    rate = read_number(cells, "source_rate", SAMPLING_RATE, 1, HIGHEST_RATE, f"{table}, line {row.line}")
    if rate != int(rate):
        raise UserError(f"{table}, line {row.line}: source_rate is {cells['source_rate']}; it must be a whole number")
    return CorpusRow(*(cells[name] for name in NEEDED[:6]), tuple(cells["yamnet_top3"].split("|")), seconds, int(rate))


def read_number(cells: dict[str, str], name: str, default: float, low: float, high: float, place: str) -> float:
    """The number in a cell of a column that need not be there. Raises UserError naming `place`."""
    try:
        value = float(cells.get(name, default))
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UserError(f"{place}: {name} is {cells[name][:80]!r}; it must be a number from {low:g} to {high:g}")
    return value


def present_rows(rows: Iterable[CorpusRow], root: str | os.PathLike) -> list[CorpusRow]:
    """The rows whose clip lies below `root` (a package may not have been built); UserError if there is none."""
    found = [row for row in rows if (Path(root) / row.file_name).is_file()]
    if not found:
        raise UserError(f"{root} holds none of the clips of the corpus table")
    return found


class ClipStore:
    """Clips of a corpus folder, read once: `store[row]` is float32 [n] at 16 kHz (numpy, not to be written to).

    `highpass` in Hz takes rumble away (`soundctm.data.rumble`); 0 leaves the recordings as they are.
    """

    def __init__(self, root: str | os.PathLike, highpass: float = 0.0):
        self.root, self.highpass = Path(root), highpass
        self._clips: dict[str, np.ndarray] = {}

    def __getitem__(self, row: CorpusRow) -> np.ndarray:
        clip = self._clips.get(row.file_name)
        if clip is None:
            sound = read_audio(self.root / row.file_name, SAMPLING_RATE)[0]
            clip = trim_silence(remove_rumble(sound, SAMPLING_RATE, self.highpass).numpy())
            clip.flags.writeable = False
            self._clips[row.file_name] = clip
        return clip


def trim_silence(clip: np.ndarray, below_peak_db: float = 50.0, frame: int = 160) -> np.ndarray:
    """The clip [n] without its beginning and end that lie `below_peak_db` under its peak; at least one frame stays."""
    if not len(clip) or not np.any(clip):
        return clip[:frame].copy()
    loud = np.flatnonzero(np.abs(clip) > np.abs(clip).max() * 10 ** (-below_peak_db / 20))
    start = max(0, loud[0] - frame // 2)
    return clip[start : loud[-1] + frame].copy()


def by_label(rows: Sequence[CorpusRow]) -> dict[str, list[CorpusRow]]:
    """Rows grouped by label, labels sorted by name so that their order does not depend on the table's."""
    groups: dict[str, list[CorpusRow]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return dict(sorted(groups.items()))
