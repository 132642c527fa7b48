"""What stands before the application: who may ask, how much may come, and what every answer says to browsers.

A page of another site can make a browser send requests here, and by rebinding a name of its own to 127.0.0.1 it can
read the answers. So the Host must be one of this service's own names, and what a browser says of a request's origin
(Origin, Sec-Fetch-Site) must be the same site. Off loopback every request brings the token.
"""

from __future__ import annotations

import asyncio
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soundctm.service.settings import LOOPBACK, Settings
from soundctm.service.work.wanted import Refused

SMALL = 64 * 1024  # bytes of a body that are read whatever else comes in
MOST_AT_ONCE = 256 * 2**20  # bytes of bodies that are held together
SAID = {  # to browsers, with every answer
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self' blob:; worker-src 'self' blob:; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware; `token` None: no request needs one."""

    def __init__(self, app: ASGIApp, settings: Settings, token: str | None = None) -> None:
        self.app, self.settings, self.token = app, settings, token
        given = [settings.host] if settings.host not in ("0.0.0.0", "::") else []
        self.names = {name.lower().strip("[]") for name in (*LOOPBACK, *settings.host_name, *given)}
        self.held = 0  # bytes of bodies that are being read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        body = _Body(self, receive, headers)
        try:
            self.check(scope, headers)
            body.check()
        except Refused as refused:
            await error_answer(refused)(scope, receive, _saying(send))
            return
        try:
            await self.app(scope, body.receive, _saying(send))
        finally:
            self.held -= body.large

    def check(self, scope: Scope, headers: Headers) -> None:
        """Raises Refused for a request that is not for this service, comes from another site, or lacks the token."""
        host = headers.get("host", "")
        if name_of(host) not in self.names:
            raise Refused(f"the Host {host[:80]!r} is none of this service's names; --host_name adds one", "Host", 403)
        origin = headers.get("origin")
        if origin is not None and (urlsplit(origin).scheme not in ("http", "https") or _site(origin) != host.lower()):
            raise Refused("requests of other sites are not served", "Origin", 403)
        asked = headers.get("sec-fetch-site", "none")
        shown = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"  # a link that was followed
        if asked not in ("none", "same-origin") and not shown:
            raise Refused("requests of other sites are not served", "Sec-Fetch-Site", 403)
        if self.token is not None and scope["path"] != "/health":
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise Refused(
                    "this service needs its token: Authorization: Bearer ...", "Authorization", 401,
                    {"WWW-Authenticate": "Bearer"},
                )  # fmt: skip


class _Body:
    """The body of a request as it comes in, within its limits of size and time."""

    def __init__(self, guard: Guard, receive: Receive, headers: Headers) -> None:
        self.guard, self._receive, self.headers = guard, receive, headers
        self.read, self.large = 0, 0
        self.deadline: float | None = None
        self.whole = False

    def check(self) -> None:
        """Raises Refused for a length that is too much, or no number."""
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Refused(f"Content-Length is {length[:40]!r}; it must be a number", "Content-Length")
        self._check_size(int(length[:20]))

    async def receive(self) -> Message:
        """The next message. Raises Refused for a body that is too large or too slow."""
        if self.whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self.deadline = self.deadline or loop.time() + self.guard.settings.body_s
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise Refused(f"the body did not come within {self.guard.settings.body_s:g} s", code=408) from error
        if message["type"] == "http.request":
            self._count(len(message.get("body", b"")))
            self.whole = not message.get("more_body", False)
        return message

    def _count(self, size: int) -> None:
        self.read += size
        self._check_size(self.read)
        if self.read <= SMALL:
            return
        more = self.read - self.large
        if self.guard.held + more > MOST_AT_ONCE:
            raise Refused("too much is being uploaded at the moment", code=503, headers={"Retry-After": "5"})
        self.guard.held += more
        self.large = self.read

    def _check_size(self, size: int) -> None:
        most = self.guard.settings.upload_bytes
        if size > most:
            raise Refused(f"the body has more than {most} bytes, the most that is taken", code=413)


def error_answer(refused: Refused) -> JSONResponse:
    """A refusal as the API says it. The connection ends where more of a body may come."""
    headers = dict(refused.headers or {})
    if refused.code in (401, 403, 408, 413, 503):
        headers["Connection"] = "close"
    return JSONResponse({"error": str(refused), "field": refused.field}, refused.code, headers)


def name_of(host: str) -> str:
    """The name in a Host header, without its port: "[::1]:80" -> "::1"."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _site(origin: str) -> str:
    return origin.partition("://")[2].lower()


def _saying(send: Send) -> Send:
    async def saying(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SAID.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return saying
