"""The live socket: the handler that gives each page a session."""

import asyncio
from itertools import chain

from aiohttp import WSCloseCode, web

from vedette.errors import EngineUnavailableError
from vedette.measure.metrics import Metrics
from vedette.serve.backend import Backend, Served
from vedette.serve.live.session import Session
from vedette.serve.queue import Queue
from vedette.sources.source import Sources

MAX_PAGES = 32
MAX_MESSAGE_BYTES = 8 * 2**20
_HEARTBEAT_S = 10.0


class Live:
    """The handler of `/api/live`."""

    def __init__(self, backend: Backend, queue: Queue[Served], sources: Sources, metrics: Metrics) -> None:
        self._backend = backend
        self._queue = queue
        self._sources = sources
        self._metrics = metrics
        self._sockets: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one page's socket until it closes; its address may name one of several models (`?model=NAME`).

        An unknown name means the model whose own name is not known yet, as after a restart, else the first model.
        Raises EngineUnavailableError if too many pages are open.
        """
        if len(self._sockets) >= MAX_PAGES:
            raise EngineUnavailableError("serve.too_many_pages", pages=MAX_PAGES)
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        self._metrics.pages.inc()
        served = self._named(request.query.get("model"))
        try:
            await Session(served, self._queue, self._sources, self._metrics, socket).serve()
        finally:
            self._sockets.discard(socket)
            self._metrics.pages.dec()
        return socket

    async def close(self) -> None:
        """Close every page's socket, with the reason that vedette stops."""
        closing = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"vedette stops") for socket in set(self._sockets))
        await asyncio.gather(*closing, return_exceptions=True)

    def _named(self, name: str | None) -> Served:
        served = self._backend.served
        if name is None:
            return served[0]
        named = (each for each in served if name in (*each.names, each.next_model))
        unknown = (each for each in served if each.name is None)
        return next(chain(named, unknown), served[0])
