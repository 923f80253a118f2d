"""One client's connection: what it waits for, and since when.

A `Connection` stands between asyncio's transport and aiohttp's protocol, passes everything on, and uses nothing of
aiohttp that is not public. aiohttp has no limits of time but for idle connections. The middleware `follow_requests`
tells a connection when a request begins and ends.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from aiohttp import web

from vedette.errors import BadInputError, OverloadedError, TooLargeError, TooSlowError, VedetteError
from vedette.serve.connections.limits import ConnectionLimits
from vedette.serve.http_errors import begun, raw_answer

ALWAYS_ANSWERED = frozenset({"/healthz", "/metrics", "/api/status"})
"""Addresses that are answered also when there are too many connections: they need no engine and no time."""


class Waiting(Enum):
    """What a connection waits for."""

    FIRST_REQUEST = "first request"
    NEXT_REQUEST = "next request"
    HEADERS = "headers"
    ANSWER = "answer"


class Connection(asyncio.Protocol):
    """A client's connection. closed: called once it has ended or is given up."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        limits: ConnectionLimits,
        address: str,
        closed: Callable[["Connection"], None],
    ) -> None:
        self.address = address
        self.is_reserve = False
        """Whether it was taken beyond the limit, for health and status only."""
        self.waiting = Waiting.FIRST_REQUEST
        self.since = time.monotonic()
        """When this wait began."""
        self._inner = inner
        self._limits = limits
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._request: web.Request | None = None
        self._header_bytes = 0
        self._window_at = 0.0
        self._window_bytes = 0
        self._is_given_up = False
        self._unread_since: float | None = None
        """Since when the client takes nothing of what is ready for it."""

    # asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream
        self._transport = transport
        self._inner.connection_made(transport)
        if self._is_given_up:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection has ended."""
        self._closed(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what the client sends."""
        if self.waiting is Waiting.ANSWER:
            self._window_bytes += len(data)
        else:
            if self.waiting is Waiting.NEXT_REQUEST:
                self.since = time.monotonic()
            self.waiting = Waiting.HEADERS
            self._header_bytes += len(data)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the client sends no more."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Note that the client does not read as fast as it is answered."""
        self._unread_since = time.monotonic()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Note that the client has read most of what was ready for it."""
        self._unread_since = None
        self._inner.resume_writing()

    # What happens on it

    @contextmanager
    def answering(self, request: web.Request) -> Iterator[None]:
        """Entered while a request, whose headers are there, is answered."""
        self.waiting, self._request = Waiting.ANSWER, request
        self._window_at, self._window_bytes = time.monotonic(), 0
        try:
            yield
        finally:
            self.waiting, self._request = Waiting.NEXT_REQUEST, None
            self.since, self._header_bytes = time.monotonic(), 0

    def check(self, now: float) -> None:
        """End the connection if its client has kept it waiting for too long. now: of the monotonic clock."""
        transport, limits = self._transport, self._limits
        if transport is None:  # a TLS handshake, which has its own limit
            return
        if transport.is_closing() and self._unread_since is None:
            self._unread_since = now  # what is left may never be read
        if self._unread_since is not None and now - self._unread_since > limits.write_s:
            self.abort()
        elif self.waiting is Waiting.ANSWER:
            self._check_body(transport, now)
        elif self.waiting is Waiting.HEADERS:
            if self._header_bytes > limits.header_bytes:
                self.refuse(TooLargeError("serve.headers_too_large", limit_bytes=limits.header_bytes))
            elif now - self.since > limits.header_s:
                self.refuse(TooSlowError("serve.headers_too_slow", limit_s=limits.header_s))
        elif now - self.since > (limits.header_s if self.waiting is Waiting.FIRST_REQUEST else limits.idle_s):
            transport.close()

    def _check_body(self, transport: asyncio.Transport, now: float) -> None:
        if self._request is None or self._request.content.is_eof():
            self._window_at, self._window_bytes = now, 0
        elif not transport.is_reading():
            # Reading stops for a moment where a handler does not keep up. aiohttp 3.14 stops it for good, and leaves
            # the handler waiting, where a body ends with trailers that it refuses.
            if now - self._window_at > self._limits.write_s:
                self.refuse(BadInputError("serve.body_broken"))
        elif now - self._window_at > self._limits.body_s:
            if self._window_bytes < self._limits.body_bytes_per_s * self._limits.body_s:
                self.refuse(TooSlowError("serve.body_too_slow", limit_s=self._limits.body_s))
            self._window_at, self._window_bytes = now, 0

    def refuse(self, error: VedetteError) -> None:
        """Say why, unless an answer has begun, and end the connection; a handler at work is cancelled."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._request is not None and begun(self._request):
            transport.abort()
        else:
            transport.write(raw_answer(error, self._request.path if self._request else ""))
            transport.close()

    def abort(self) -> None:
        """End the connection at once, or as soon as it is made."""
        self._is_given_up = True
        self._closed(self)
        if self._transport is not None:
            self._transport.abort()


def connection_of(request: web.Request) -> Connection | None:
    """The connection that a request came on; None if it ends, or its app listens in another way."""
    protocol = request.transport.get_protocol() if request.transport else None
    return protocol if isinstance(protocol, Connection) else None


@web.middleware
async def follow_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a request, and have its connection know. Raises OverloadedError on a connection of the reserve."""
    connection = connection_of(request)
    if connection is None:
        return await handler(request)
    with connection.answering(request):
        if connection.is_reserve and request.path not in ALWAYS_ANSWERED:
            raise OverloadedError("serve.too_many_connections")
        return await handler(request)
