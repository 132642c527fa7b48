"""What the studio knows of the sounds of a folder beside the manifest: stars, times, origins; in `studio.json`."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundctm.errors import UserError
from soundctm.files import write_whole
from soundctm.files.reading import MOST_TABLE_BYTES, parse_json, read_text

log = logging.getLogger(__name__)

MARKS = "studio.json"


@dataclass(frozen=True)
class Mark:
    """Of one sound: `made` is in seconds since 1970, None for that of its file; `parent` the name of another."""

    starred: bool = False
    made: float | None = None
    parent: str | None = None


class Marks:
    """The marks by file name. What is changed is on the disk before the call returns."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError for a file that is none of ours."""
        self._path = folder / MARKS
        self._marks: dict[str, Mark] = {}
        if self._path.exists():
            sounds = parse_json(read_text(self._path, MOST_TABLE_BYTES, strict=False), str(self._path)).get("sounds")
            if not isinstance(sounds, dict):
                raise UserError(f"{self._path} was not written by the studio: it has no `sounds`")
            self._marks = {name: _mark(values) for name, values in sounds.items()}

    def __getitem__(self, file: str) -> Mark:
        return self._marks.get(file, Mark())

    def set(self, file: str, **changes: Any) -> Mark:
        """Change the mark of a sound; returns it. Raises UserError when it cannot be written."""
        changed = dataclasses.replace(self[file], **changes)
        self._write({**self._marks, file: changed})
        return changed

    def remove(self, file: str) -> None:
        """Forget a sound. Raises UserError."""
        self._write({name: mark for name, mark in self._marks.items() if name != file})

    def _write(self, marks: dict[str, Mark]) -> None:
        defaults = dataclasses.asdict(Mark())
        sounds = {
            name: {key: value for key, value in dataclasses.asdict(mark).items() if value != defaults[key]}
            for name, mark in marks.items()
        }
        write_whole(self._path, json.dumps({"version": 1, "sounds": sounds}, indent=0, ensure_ascii=False) + "\n")
        self._marks = marks


def _mark(values: Any) -> Mark:
    """What can be read of a mark; a file may have been edited by hand."""
    values = values if isinstance(values, dict) else {}
    made, parent = values.get("made"), values.get("parent")
    return Mark(
        starred=values.get("starred") is True,
        made=float(made) if isinstance(made, int | float) and 0 <= made < 1e11 else None,
        parent=parent if isinstance(parent, str) else None,
    )
