"""The folder of a history: what is in it, and how it grows."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from soundctm.data.names import shown
from soundctm.errors import UserError
from soundctm.files import ensure_writable, sweep, write_whole
from soundctm.files.names import LONGEST_PART
from soundctm.inference.clips import safe_stem
from soundctm.inference.manifest import Entry, Manifest, line_of
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
        found = sorted(
            (self._item(*each) for each in self._files()), key=lambda item: (item.made, item.file), reverse=True
        )
        if before is not None:
            place = next((k for k, item in enumerate(found) if item.id == before), None)
            if place is None:
                raise NotThere("the list has changed; read it from its beginning")
            found = found[place + 1 :]
        found = [item for item in found if (item.starred or not starred) and item.matches(words)]
        limit = max(1, min(limit, MOST_LISTED))
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def __len__(self) -> int:
        return len(self._files())

    def item(self, id: str) -> Item:
        """The sound with that id. Raises NotThere."""
        with self._lock:
            self._refresh()
            file = next((file for file in (*self._entries, *self._own()) if id_of(file) == id), None)
            if file is None or not (self.folder / file).is_file():
                raise NotThere("there is no such sound in the history; it may have been deleted")
            return self._item(file, self._entries.get(file))

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
            before = self._size()
            write_made(self.folder / file, made, self._manifest)
            if self._size() == before + len(line_of(made.entry)):  # nobody else has written
                self._entries[file], self._read_at = made.entry, self._state()
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

    def _files(self) -> list[tuple[str, Entry | None]]:
        """The sounds that are there, and their lines."""
        with self._lock:
            self._refresh()
            entries, own = list(self._entries.items()), self._own()
        there: set[str] = set()
        with contextlib.suppress(FileNotFoundError):  # somebody has moved all of it away
            there = {found.name for found in os.scandir(self.folder)}
        made = [pair for pair in entries if pair[0] in there or ("/" in pair[0] and (self.folder / pair[0]).is_file())]
        return [*made, *((file, None) for file in own)]

    def _item(self, file: str, entry: Entry | None) -> Item:
        mark = self._marks[file]
        made = mark.made
        if made is None:
            with contextlib.suppress(OSError):  # it may have gone just now
                made = (self.folder / file).stat().st_mtime
        return Item(file, made or 0.0, entry, mark.starred, mark.parent)

    def _state(self) -> tuple[int, int, int] | None:
        """Differs when the manifest does."""
        try:
            told = self._manifest.path.stat()
        except FileNotFoundError:
            return None
        return told.st_ino, told.st_mtime_ns, told.st_size

    def _size(self) -> int:
        return (self._state() or (0, 0, 0))[2]

    def _refresh(self) -> None:
        now = self._state()
        if now is None:
            self._entries = {}
        elif now != self._read_at:
            entries = self._manifest.read().values()
            self._entries = {each.file: each for each in entries if not each.is_pending and _is_sound(each.file)}
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
        for file in [*(file for file, _ in self._files()), *kept]:
            path = self.folder / file
            if path.stat().st_size == len(content) and _digest(path.read_bytes()) == wanted:
                self._digests[wanted] = file
                return file
        return None


def _is_sound(file: str) -> bool:
    """No line of a manifest makes a sound of another file of the folder."""
    return Path(file).suffix.lower() in ENDINGS and not any(part.startswith(".") for part in file.split("/"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


__all__ = ["History", "NotThere", "id_of"]
