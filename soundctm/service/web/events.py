"""A job as server-sent events: "progress", "clip" for each clip, and "done", "failed" or "cancelled" at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from soundctm.service.work.desk import listening
from soundctm.service.work.jobs import Job

ALIVE = 15.0  # seconds after which a line without meaning keeps the connection open


class Bell:
    """Rung from any thread, waited for in an event loop."""

    def __init__(self) -> None:
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> bool:
        """True when it was rung, False when that took longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


async def events(job: Job) -> AsyncIterator[str]:
    """The events from now on, after those of the clips that are there already."""
    bell, told, shown = Bell(), set(), None
    with listening(job, bell.ring):
        while True:
            over, state = job.is_over, job.to_json()  # `over` first: what comes later is told by the next round
            for clip in state["clips"]:
                if clip["index"] not in told:
                    told.add(clip["index"])
                    yield event("clip", clip)
            if over:
                yield event(job.status, job.to_json())
                return
            if (now := (state["status"], state["progress"], state["position"])) != shown:
                shown = now
                yield event("progress", state)
            if not await bell.wait(ALIVE):
                yield ": still here\n\n"


def event(name: str, data: dict[str, Any]) -> str:
    """One event; JSON has no line breaks of its own."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=True)}\n\n"
