"""The live socket: the handler that gives each page a session."""

import asyncio
import time
from collections.abc import Sequence
from itertools import chain

from aiohttp import WSCloseCode, web

from vedette.errors import OverloadedError
from vedette.serve.access.accounts import account_of
from vedette.serve.backend import Backend, Served
from vedette.serve.connections.addresses import address_of, is_loopback
from vedette.serve.connections.limits import ConnectionLimits
from vedette.serve.live.asking import Shared
from vedette.serve.live.session import Session

MAX_MESSAGE_BYTES = 8 * 2**20


class Live:
    """The handler of `/api/live`."""

    def __init__(self, backend: Backend, shared: Shared, limits: ConnectionLimits) -> None:
        self._backend = backend
        self._shared = shared
        self._limits = limits
        self._sessions: dict[Session, str] = {}
        """The pages' sessions, and the address of each."""
        self._closing: set[asyncio.Future[None]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one page's socket until it closes; its address may name one of several models (`?model=NAME`).

        An unknown name means the model whose own name is not known yet, as after a restart, else the first model. If
        too many pages are open, the page gets the reason on its socket: a browser shows no other answer.
        """
        socket = web.WebSocketResponse(
            heartbeat=self._limits.heartbeat_s, max_msg_size=MAX_MESSAGE_BYTES, compress=False
        )
        await socket.prepare(request)
        served = self._named(request.query.get("model"))
        session = Session(served, self._shared, socket, account_of(request))
        address = address_of((request.remote,))
        if not self._has_room(address):
            await session.refuse(OverloadedError("serve.too_many_pages", pages=len(self._sessions)))
            return socket
        self._sessions[session] = address
        self._shared.metrics.pages.inc()
        try:
            await session.serve()
        finally:
            self._sessions.pop(session, None)
            self._shared.metrics.pages.dec()
        return socket

    def _has_room(self, address: str) -> bool:
        """Whether one more page may be open; if not, a page from which nothing is heard makes room."""
        own = [each for each, its in self._sessions.items() if its == address]
        if not is_loopback(address) and len(own) >= self._limits.pages_per_address:
            return self._close_quiet(own)
        return len(self._sessions) < self._limits.pages or self._close_quiet(list(self._sessions))

    def _close_quiet(self, sessions: Sequence[Session]) -> bool:
        quietest = min(sessions, key=lambda each: each.heard_at)
        if time.monotonic() - quietest.heard_at < self._limits.quiet_page_s:
            return False
        del self._sessions[quietest]
        closing = asyncio.ensure_future(quietest.refuse(OverloadedError("serve.page_made_room")))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return True

    async def close(self) -> None:
        """Close every page's socket, with the reason that vedette stops."""
        closing = (each.close(WSCloseCode.GOING_AWAY, b"vedette stops") for each in list(self._sessions))
        await asyncio.gather(*closing, *self._closing, return_exceptions=True)

    def _named(self, name: str | None) -> Served:
        served = self._backend.served
        if name is None:
            return served[0]
        named = (each for each in served if name in (*each.names, each.next_model))
        unknown = (each for each in served if each.name is None)
        return next(chain(named, unknown), served[0])
