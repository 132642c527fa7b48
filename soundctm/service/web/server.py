"""The application behind uvicorn: limits of connections, and a stop that lets what runs end."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from soundctm.errors import UserError
from soundctm.service.settings import Settings
from soundctm.service.web.connections import connection_of

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Serves an application of `create_app` until SIGINT or SIGTERM; a second one does not wait for what runs."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self.service = app.state.service
        super().__init__(
            uvicorn.Config(
                app,
                http=connection_of(settings),
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                log_level="warning",
                limit_concurrency=settings.connections,
                server_header=False,
                timeout_graceful_shutdown=int(settings.stop_s) or 1,
                proxy_headers=False,
            )  # fmt: skip
        )
        self.service.on_fault = self.stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self.stop()

    def stop(self) -> None:
        """Take nothing more, finish what runs, end."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.desk.stop()  # before uvicorn waits for those who wait for jobs
        await super().shutdown(sockets)


def serve(app: FastAPI, settings: Settings, started=lambda address: None) -> None:
    """Serve until told to stop; `started(address)` is called when it listens. Raises UserError."""
    listener = bound(settings)
    server = Server(app, settings)
    host, port = listener.getsockname()[:2]
    started(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    with listener:
        asyncio.run(server.serve([listener]))
    if app.state.service.fault is not None:
        raise UserError(app.state.service.fault)


def bound(settings: Settings) -> socket.socket:
    """A socket that listens at the settings' address. Raises UserError where that cannot be had."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise UserError(f"cannot listen at {settings.host}, port {settings.port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


__all__ = ["Server", "bound", "serve"]
