"""The folder of a history: what is in it, and how it grows."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from soundctm.data.names import shown
from soundctm.errors import UserError
from soundctm.files import ensure_writable, sweep, write_whole
from soundctm.files.names import LONGEST_PART
from soundctm.inference.clips import safe_stem
from soundctm.inference.manifest import Entry, Manifest
from soundctm.studio.history.item import Item, id_of
from soundctm.studio.history.marks import Marks
from soundctm.studio.history.own import ENDINGS, ending_of
from soundctm.studio.history.trash import Trash

if TYPE_CHECKING:
    from soundctm.inference.generate import Made

log = logging.getLogger(__name__)

OWN, INPUTS = "own", "inputs"
MOST_LISTED = 200  # sounds of one answer


class NotThere(UserError):
    """There is no such sound in the history."""


class History:
    """The sounds of `folder`, which is made. Methods may be called from several threads.

    What another program adds to the manifest is found at the next call. Raises UserError for a folder that cannot be
    read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ensure_writable(folder)
        for place in (folder, folder / OWN, folder / INPUTS):
            sweep(place)
        self._lock = threading.RLock()
        self._manifest = Manifest(folder)
        self._marks = Marks(folder)
        self._trash = Trash(folder)
        self._entries: dict[str, Entry] = {}
        self._read_at: tuple[int, int, int] | None = None
        self._digests: dict[str, str] = {}  # of bytes -> name in the folder
        self._trash.finish(self._manifest, self._marks)
        self._manifest.prepare()

    # what is there

    def items(
        self, query: str = "", starred: bool = False, limit: int = 50, before: str | None = None
    ) -> tuple[list[Item], str | None]:
        """The newest sounds first, and the id after which the next part begins (`before`), None at the end.

        `query`: words that must all be found. Raises NotThere for a `before` that is not there any more.
        """
        words = query.casefold().split()
        found = sorted(self._all(), key=lambda item: (item.made, item.file), reverse=True)
        if before is not None:
            place = next((k for k, item in enumerate(found) if item.id == before), None)
            if place is None:
                raise NotThere("the list has changed; read it from its beginning")
            found = found[place + 1 :]
        found = [item for item in found if (item.starred or not starred) and item.matches(words)]
        limit = max(1, min(limit, MOST_LISTED))
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def __len__(self) -> int:
        return sum(1 for _ in self._all())

    def item(self, id: str) -> Item:
        """The sound with that id. Raises NotThere."""
        found = next((item for item in self._all() if item.id == id), None)
        if found is None:
            raise NotThere("there is no such sound in the history; it may have been deleted")
        return found

    def path(self, item: Item) -> Path:
        """Where its file is."""
        return self.folder / item.file

    def inside(self, path: str) -> Item:
        """The sound at `path`, as a line of the manifest names it. Raises UserError when it is not of this folder."""
        try:
            file = Path(path).resolve().relative_to(self.folder.resolve()).as_posix()
        except (ValueError, OSError, RuntimeError):
            raise UserError(f"{shown(path)[:200]}, which was edited, is not in {self.folder}") from None
        if not (self.folder / file).is_file():
            raise UserError(f"{shown(file)[:200]}, which was edited, is not there any more")
        return Item(file, 0.0)

    def with_bytes(self, content: bytes) -> str | None:
        """The name of the sound of the folder whose file holds these bytes, if there is one."""
        return self._digests.get(_digest(content)) or self._find(content)

    # how it changes

    def add(self, made: Made, parent: str | None = None, when: float | None = None) -> Item:
        """Write a clip (soundctm.inference.generate.Made) and its line; its file gets a free name made of its caption.

        `parent`: the file that it was made from. `when`: seconds since 1970, now if not given. After a kill both file
        and line are there or neither. Raises UserError when they cannot be written.
        """
        from soundctm.inference.generate import write_made

        with self._lock:
            file = self._free(safe_stem(made.entry.caption, is_file_name=False), ".wav")
            made = dataclasses.replace(made, entry=dataclasses.replace(made.entry, file=file))
            write_made(self.folder / file, made, self._manifest)
            self._marks.set(file, made=time.time() if when is None else when, parent=parent)
            return self._item(file, made.entry)

    def add_own(self, content: bytes, name: str) -> Item:
        """Keep a sound file of the user's as it is, under a name made of `name`. Raises UserError for what is none."""
        return self._keep(content, name, OWN)

    def keep_input(self, content: bytes, name: str = "sound") -> str:
        """The name of a file of the folder that holds these bytes; one in `inputs` is made where there is none."""
        known = self.with_bytes(content)
        return known or self._keep(content, f"{name}_{_digest(content)[:8]}", INPUTS).file

    def star(self, id: str, starred: bool) -> Item:
        """Give or take the star. Raises NotThere."""
        with self._lock:
            item = self.item(id)
            self._marks.set(item.file, starred=starred)
            return dataclasses.replace(item, starred=starred)

    def delete(self, id: str) -> Item:
        """Put a sound into the trash. Raises NotThere."""
        with self._lock:
            item = self.item(id)
            self._trash.put(item, self._marks[item.file])
            self._manifest.prepare(without=(item.file,))
            self._marks.remove(item.file)
            return item

    def restore(self, id: str) -> Item:
        """Take a sound out of the trash, as it was. Raises NotThere."""
        with self._lock:
            file = self._trash.restore(id, self._manifest, self._marks)
            if file is None:
                raise NotThere("there is no such sound in the trash; it is kept there for some weeks")
            return self.item(id)

    # within

    def _all(self) -> Iterator[Item]:
        with self._lock:
            self._refresh()
            files = [*self._entries, *self._own()]
        for file in files:
            if (self.folder / file).is_file():
                yield self._item(file, self._entries.get(file))

    def _item(self, file: str, entry: Entry | None) -> Item:
        mark = self._marks[file]
        made = mark.made
        if made is None:
            made = (self.folder / file).stat().st_mtime
        return Item(file, made, entry, mark.starred, mark.parent)

    def _refresh(self) -> None:
        try:
            told = self._manifest.path.stat()
        except FileNotFoundError:
            self._entries = {}
            return
        now = (told.st_ino, told.st_mtime_ns, told.st_size)
        if now != self._read_at:
            self._entries = {name: entry for name, entry in self._manifest.read().items() if not entry.is_pending}
            self._read_at = now

    def _own(self) -> list[str]:
        place = self.folder / OWN
        if not place.is_dir():
            return []
        names = (path.name for path in place.iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
        return [f"{OWN}/{name}" for name in names]

    def _keep(self, content: bytes, name: str, place: str) -> Item:
        ending = ending_of(content, shown(name)[:80])
        with self._lock:
            stem = safe_stem(name.replace("\\", "/").rpartition("/")[2], is_file_name=True)
            file = self._free(f"{place}/{stem}", ending)
            write_whole(self.folder / file, content)
            self._digests[_digest(content)] = file
            mark = self._marks.set(file, made=time.time())
            return Item(file, mark.made or 0.0)

    def _free(self, stem: str, ending: str) -> str:
        """A name that neither the folder nor the trash has, on any file system."""
        self._refresh()
        taken = {name.casefold() for name in (*self._trash.names(), *self._entries, *self._own())}
        stem = stem.encode()[: LONGEST_PART - 40].decode(errors="ignore")
        number = 1
        while True:
            name = f"{stem}{'' if number == 1 else f'_{number}'}{ending}"
            if name.casefold() not in taken and not (self.folder / name).exists():
                return name
            number += 1

    def _find(self, content: bytes) -> str | None:
        """Looks at files of that size alone."""
        wanted = _digest(content)
        inputs = self.folder / INPUTS
        kept = [f"{INPUTS}/{path.name}" for path in inputs.iterdir()] if inputs.is_dir() else []
        for file in [*(item.file for item in self._all()), *kept]:
            path = self.folder / file
            if path.stat().st_size == len(content) and _digest(path.read_bytes()) == wanted:
                self._digests[wanted] = file
                return file
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


__all__ = ["History", "NotThere", "id_of"]
