"""The output folder: what must still be made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from soundctm.errors import UserError
from soundctm.inference.manifest import Entry


def to_make(wanted: Iterable[Entry], done: dict[str, Entry], folder: Path, overwrite: bool) -> list[Entry]:
    """The entries whose clips do not exist yet; all of those that differ from what exists when `overwrite`.

    Raises UserError when a wav that is in the way was made with other settings, or not by this script.
    """
    missing = []
    for entry in wanted:
        path = folder / entry.file
        there = path.exists()
        earlier = done.get(entry.file)
        same = earlier is not None and not earlier.is_pending and earlier.settings() == entry.settings()
        if there and same:
            continue
        if there and not overwrite and not (earlier is not None and earlier.is_pending):
            why = f"with {earlier.difference(entry)}" if earlier else "by something else (manifest.csv lacks it)"
            raise UserError(f"{path} was made {why}; give --overwrite, or another --output_dir")
        if path.is_dir():
            raise UserError(f"{path} is a folder; give another --output_dir")
        missing.append(entry)
    return missing
