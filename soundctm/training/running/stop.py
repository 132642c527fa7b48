"""Ending a run from outside: SIGTERM and SIGINT ask for a checkpoint and an end at the next step."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Within `with`, the signal that was caught, or None. The second signal acts as it would have without us."""

    def __init__(self) -> None:
        self.caught: int | None = None
        self._before: dict[int, object] = {}

    @property
    def exit_code(self) -> int:
        """128 plus the signal, as shells report it: 143 after SIGTERM. Batch systems see that the job is unfinished."""
        return 128 + (self.caught or signal.SIGTERM)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._catch) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _catch(self, number: int, _: FrameType | None) -> None:
        self.caught = number
        self._restore()
        logger.warning("%s: saving and ending at the next step", signal.Signals(number).name)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
