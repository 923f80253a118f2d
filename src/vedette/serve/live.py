"""The live socket: what the pages' sessions share, and the handler that gives each page one."""

import asyncio

from aiohttp import WSCloseCode, web

from vedette.errors import EngineUnavailableError
from vedette.measure.metrics import Metrics
from vedette.serve.backend import Backend
from vedette.serve.session import Session
from vedette.serve.sources import SceneCamera
from vedette.serve.turns import Turns

MAX_PAGES = 32
MAX_MESSAGE_BYTES = 8 * 2**20
_HEARTBEAT_S = 10.0


class Live:
    """The handler of `/api/live`."""

    def __init__(self, backend: Backend, scene: SceneCamera, metrics: Metrics) -> None:
        self._backend = backend
        self._scene = scene
        self._metrics = metrics
        self._turns = Turns(lambda: backend.context.concurrency if backend.context else 1)
        self._sockets: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One page's socket, until it closes. Raises EngineUnavailableError when too many are open."""
        if len(self._sockets) >= MAX_PAGES:
            raise EngineUnavailableError(f"{MAX_PAGES} pages are open already.", "Close one of them.")
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        self._metrics.pages.inc()
        try:
            await Session(self._backend, self._turns, self._scene, self._metrics, socket).serve()
        finally:
            self._sockets.discard(socket)
            self._metrics.pages.dec()
        return socket

    async def close(self) -> None:
        """Tells every page that vedette stops."""
        closing = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"vedette stops") for socket in set(self._sockets))
        await asyncio.gather(*closing, return_exceptions=True)
