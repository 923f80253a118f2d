"""The live socket: what the pages' sessions share, and the handler that gives each page one."""

import asyncio
from functools import partial
from itertools import chain

from aiohttp import WSCloseCode, web

from vedette.errors import EngineUnavailableError
from vedette.measure.metrics import Metrics
from vedette.serve.backend import Backend, Served
from vedette.serve.live.session import Session
from vedette.serve.turns import Turns
from vedette.sources.cameras import SceneCamera

MAX_PAGES = 32
MAX_MESSAGE_BYTES = 8 * 2**20
_HEARTBEAT_S = 10.0


class Live:
    """The handler of `/api/live`."""

    def __init__(self, backend: Backend, scene: SceneCamera, metrics: Metrics) -> None:
        self._scene = scene
        self._metrics = metrics
        self._turns = [(served, Turns(partial(_capacity, served))) for served in backend.served]
        self._sockets: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One page's socket, until it closes; its address may name one of several models (`?model=NAME`).

        A name that nobody has means the model whose own is not known yet, as after a restart, else the first.

        Raises EngineUnavailableError when too many are open.
        """
        if len(self._sockets) >= MAX_PAGES:
            raise EngineUnavailableError(f"{MAX_PAGES} pages are open already.", "Close one of them.")
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        self._metrics.pages.inc()
        served, turns = self._named(request.query.get("model"))
        try:
            await Session(served, turns, self._scene, self._metrics, socket).serve()
        finally:
            self._sockets.discard(socket)
            self._metrics.pages.dec()
        return socket

    def _named(self, name: str | None) -> tuple[Served, Turns]:
        if name is None:
            return self._turns[0]
        named = (each for each in self._turns if name in (*each[0].names, each[0].next_model))
        unknown = (each for each in self._turns if each[0].name is None)
        return next(chain(named, unknown), self._turns[0])

    async def close(self) -> None:
        """Tells every page that vedette stops."""
        closing = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"vedette stops") for socket in set(self._sockets))
        await asyncio.gather(*closing, return_exceptions=True)


def _capacity(served: Served) -> int:
    return served.context.concurrency if served.context else 1
