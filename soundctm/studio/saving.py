"""What the desk makes goes into the history, with what it was made from."""

from __future__ import annotations

import threading
import time
import weakref
from pathlib import Path
from typing import Any

from soundctm.files.sounds import sound_bytes
from soundctm.inference.generate import Made
from soundctm.service import Clip, Job, Wanted
from soundctm.studio.history import History, Item
from soundctm.studio.recipes import line_of


class Saving:
    """A hook of `Desk.on_clip`: each clip becomes a sound of the history before it is told of."""

    def __init__(self, history: History, service: Any) -> None:
        self.history, self._service = history, service
        self._lock = threading.Lock()
        self._origins: weakref.WeakKeyDictionary[Wanted, tuple[Item, Item | None]] = weakref.WeakKeyDictionary()
        self._begun: weakref.WeakKeyDictionary[Wanted, float] = weakref.WeakKeyDictionary()

    def from_item(self, wanted: Wanted, item: Item, source: Item | None) -> None:
        """Say, before it is submitted, that `wanted` comes from `item`, and that it edits `source`."""
        with self._lock:
            self._origins[wanted] = item, source

    def __call__(self, job: Job, index: int, clip: Clip) -> dict[str, Any]:
        """Raises UserError when the disk takes no more; the sound is then the job's alone."""
        wanted, model = job.wanted, self._service.model
        with self._lock:
            item, source = self._origins.get(wanted, (None, None))
            # clips of a job keep their order in a list in which the newest stands first
            begun = self._begun.setdefault(wanted, time.time() - (time.monotonic() - job.created))
        sound = self._sound(wanted, source)
        entry = line_of(job, clip, model, sound)
        made = Made(entry, clip.audio, clip.rate, model.pipe.codec.sample_format)
        kept = self.history.add(made, parent=item.file if item else None, when=begun - index / 1000)
        return {"history": kept.id, "item": kept.to_json()}

    def _sound(self, wanted: Wanted, source: Item | None) -> Path | None:
        """The file that was edited; one is kept of a sound that came with a request from elsewhere."""
        edit = wanted.edit
        if edit is None:
            return None
        if source is not None and self.history.path(source).is_file():
            return self.history.path(source)
        return self.history.folder / self.history.keep_input(sound_bytes(edit.audio, edit.rate, ".wav", "float"))
