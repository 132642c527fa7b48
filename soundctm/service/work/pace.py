"""How fast clips are made here: measured over what was made last, for the time that a full queue needs."""

from __future__ import annotations

from collections.abc import Iterable

from soundctm.service.work.wanted import Wanted

MEMORY = 0.8  # share of what was known before that a new measurement leaves
FIRST = 0.5  # seconds of a unit before anything was measured
DECODING = 1.0  # units of a clip, beside one per network call
CONTROL = 10.0  # times the work of a step that is guided


def work_of(wanted: Wanted, codec=None) -> float:
    """Units of work of a clip: network calls and decoding, by the model's own lengths."""
    settings, edit = wanted.settings, wanted.edit
    calls = settings.steps * (2 if settings.nu not in (None, 1.0) else 1)
    if edit is not None:
        calls *= 2 * max(1, edit.repaint)
    if wanted.control is not None:
        calls *= CONTROL
    seconds = edit.length if edit is not None else wanted.seconds or 0.0
    own = codec.default_seconds if codec is not None else 0.0
    return (calls + DECODING) * max(1.0, seconds / own if own else 1.0)


class Pace:
    """Seconds per unit of work, over the last batches."""

    def __init__(self) -> None:
        self.seconds = FIRST
        self._measured = False
        self._codec = None

    def measured(self, made: Iterable[Wanted], codec, took: float) -> None:
        """A batch of clips took so many seconds."""
        self._codec = codec
        now = took / sum(work_of(wanted, codec) for wanted in made)
        self.seconds = MEMORY * self.seconds + (1 - MEMORY) * now if self._measured else now
        self._measured = True

    def seconds_for(self, wanted: Iterable[Wanted]) -> float:
        """Seconds that making all of these takes."""
        return self.seconds * sum(work_of(one, self._codec) for one in wanted)
