"""Connections of the server: one that sends no head, or reads no answer, is ended after a while."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from soundctm.service.settings import Settings


class Connection(H11Protocol):
    """uvicorn's, with limits of time on both sides. Use `connection_of`."""

    settings = Settings()
    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._watch(True)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch(self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch(False)
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.settings.send_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _watch(self, waiting: bool) -> None:
        """Does it wait for the rest of a head?"""
        if waiting and self._head is None:
            self._head = self.loop.call_later(self.settings.header_s, self.transport.abort)
        elif not waiting and self._head is not None:
            self._head.cancel()
            self._head = None


def connection_of(given: Settings) -> type[Connection]:
    """The class of connections with these limits."""
    return type("Connection", (Connection,), {"settings": given})
