"""Deleted sounds: kept for KEPT_DAYS days in `.trash`, each as its file and a note of what it was.

Order of writing, so that a kill at any point loses nothing: to delete, note, move, then forget; to restore, move back,
remember, then drop the note. A note whose sound is in its old place belongs to a deletion that did not begin or to a
restoring that did not end; `finish` settles both in favour of the sound.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soundctm.errors import Unwritable, UserError
from soundctm.files import inside, sweep, write_whole
from soundctm.files.reading import parse_json, read_text
from soundctm.inference.manifest import COLUMNS, Entry, Manifest
from soundctm.studio.history.item import Item, id_of
from soundctm.studio.history.marks import Mark, Marks

log = logging.getLogger(__name__)

TRASH, KEPT_DAYS = ".trash", 30


class Trash:
    """The trash of a history's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._place = folder, folder / TRASH

    def names(self) -> Iterator[str]:
        """The names that its sounds had."""
        for note in self._notes():
            yield note["file"]

    def put(self, item: Item, mark: Mark) -> None:
        """Move the file of `item` here. Raises UserError when that fails."""
        note = {
            "file": item.file,
            "deleted": time.time(),
            "entry": dataclasses.asdict(item.entry) if item.entry else None,
            "mark": dataclasses.asdict(mark),
        }
        write_whole(self._note(item.id), json.dumps(note, ensure_ascii=False) + "\n")
        _move(self._folder / item.file, self._sound(item.id))

    def restore(self, id: str, manifest: Manifest, marks: Marks) -> str | None:
        """Take a sound back; its name, None if it is not here. Raises UserError."""
        note = next((note for note in self._notes() if id_of(note["file"]) == id), None)
        if note is None or not self._sound(id).is_file():
            return None
        path = inside(self._folder, note["file"], self._note(id))
        if path.exists():
            raise UserError(f"{path} is there already; move it away to restore the deleted one")
        _move(self._sound(id), path)
        self._remember(note, manifest, marks)
        return note["file"]

    def finish(self, manifest: Manifest, marks: Marks) -> None:
        """Settle what a kill has interrupted, and drop what was deleted KEPT_DAYS days ago."""
        sweep(self._place)
        entries = manifest.read()
        for note in list(self._notes()):
            id = id_of(note["file"])
            back = (self._folder / note["file"]).is_file()
            if back and not self._sound(id).exists():
                if note["entry"] and note["file"] not in entries:
                    self._remember(note, manifest, marks)
                self._note(id).unlink(missing_ok=True)
            elif not back and note["file"] in entries:
                manifest.prepare(without=(note["file"],))
            elif time.time() - note["deleted"] > KEPT_DAYS * 86_400:
                self._sound(id).unlink(missing_ok=True)
                self._note(id).unlink(missing_ok=True)

    def _remember(self, note: dict[str, Any], manifest: Manifest, marks: Marks) -> None:
        if note["entry"]:
            manifest.append(Entry(**note["entry"]))
        mark = note["mark"]
        marks.set(note["file"], starred=mark["starred"], made=mark["made"], parent=mark["parent"])
        self._note(id_of(note["file"])).unlink(missing_ok=True)

    def _notes(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._place.glob("*.json")):
            try:
                note = _checked(parse_json(read_text(path, strict=False), str(path)), path)
                inside(self._folder, note["file"], path)
                yield note
            except UserError as error:
                log.warning("passed over: %s", error)

    def _note(self, id: str) -> Path:
        return self._place / f"{id}.json"

    def _sound(self, id: str) -> Path:
        return self._place / f"{id}.sound"


def _checked(note: dict[str, Any], path: Path) -> dict[str, Any]:
    """A note with all that it needs. Raises UserError."""
    entry, mark = note.get("entry"), note.get("mark")
    is_entry = entry is None or (
        isinstance(entry, dict) and set(entry) == set(COLUMNS) and all(isinstance(v, str) for v in entry.values())
    )
    is_mark = isinstance(mark, dict) and {"starred", "made", "parent"} <= set(mark)
    if not (isinstance(note.get("file"), str) and isinstance(note.get("deleted"), float) and is_entry and is_mark):
        raise UserError(f"{path} was not written by the studio")
    return note


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    except OSError as error:
        raise Unwritable(f"{source} cannot be moved to {target}: {error.strerror}") from error
