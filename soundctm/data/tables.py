"""The one reader of captions: for training, inference, evaluation, and the check of a table.

    file_name,caption
    birds/0001.wav,"a bird sings, then flies away"

One row stands on one line; further columns are allowed. What is wrong with a row is never guessed away: a caption with
a comma and without quotes, an open quote, an empty value are refused with their line (`soundctm.files.reading`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soundctm.errors import UserError
from soundctm.files.reading import read_rows, read_text

MAX_CAPTION = 10_000  # characters; a longer one means that the file is no caption file


@dataclass(frozen=True)
class CaptionRow:
    """One row: a caption on one line, the file's name as it is written there ("" if there is none), and where it is."""

    line: int
    caption: str
    file_name: str = ""
    cells: dict[str, str] = field(default_factory=dict, compare=False)  # all columns


def read_captions(path: str | os.PathLike, required: Sequence[str] = ("caption",)) -> list[CaptionRow]:
    """The rows of a CSV with a column `caption`, or of a .txt with a caption a line.

    Columns that are `required` need a value in every row. Raises UserError as `read_rows`, and for such a value that is
    empty and for captions of more than MAX_CAPTION characters.
    """
    path = Path(path)
    if path.suffix.lower() == ".txt" and set(required) <= {"caption"}:
        lines = enumerate(read_text(path).split("\n"), start=1)
        rows = [CaptionRow(number, _one_line(line)) for number, line in lines if line.strip()]
        if not rows:
            raise UserError(f"{path} holds no captions")
    else:
        _, found = read_rows(path, required)
        rows = [CaptionRow(row.line, _one_line(row.cells["caption"]), _name(row.cells), row.cells) for row in found]
    for row in rows:
        for name in required:
            value = row.caption if name == "caption" else row.cells[name]
            if not value.strip():
                raise UserError(f"{path}, line {row.line}: the {name} is empty")
        if len(row.caption) > MAX_CAPTION:
            raise UserError(
                f"{path}, line {row.line}: a caption of {len(row.caption)} characters: {row.caption[:40]!r}..."
            )
    return rows


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _name(cells: dict[str, str]) -> str:
    name = cells.get("file_name", "").strip() and cells["file_name"]
    return name or cells.get("audiocap_id", "").strip()  # of AudioCaps' own list
