"""Accepts connections within limits, and ends those that wait for nothing but their client.

asyncio's own server accepts without limit, and writes a traceback for each attempt when no descriptor is left. Where
this one is full, the connection that has waited longest for its client's next request makes room; so an honest client,
whose request is there at once, is served however many others hold connections open.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from vedette.errors import OverloadedError
from vedette.serve.connections.addresses import address_of, is_loopback
from vedette.serve.connections.connection import Connection, Waiting
from vedette.serve.connections.limits import ConnectionLimits
from vedette.serve.http_errors import raw_answer
from vedette.serve.runner import make_runner
from vedette.tasks import cancel, running

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Connections that are accepted before the others' turn; each needs a descriptor before it can be refused."""
_RETRY_S = 0.2
_FREED_AT_ONCE = 8
_LOG_EVERY_S = 60.0
_HANDSHAKE_S = 10.0


class Acceptor:
    """The connections of one listening socket. server: makes the protocol of each (an aiohttp server)."""

    def __init__(
        self,
        listener: socket.socket,
        server: Callable[[], asyncio.Protocol],
        limits: ConnectionLimits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        self._server = server
        self._limits = limits
        self._most = limits.most
        """Connections for now: fewer where descriptors ran out before the limit was reached."""
        self._tls = tls
        self._open: dict[Connection, None] = {}
        self._by_address: Counter[str] = Counter()
        self._connecting: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._logged_at = -_LOG_EVERY_S

    def start(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def stop(self) -> None:
        """Accept no more; connections that are open stay."""
        asyncio.get_running_loop().remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()
        await cancel(*self._connecting)

    async def watch(self) -> None:
        """End, until cancelled, each connection whose client keeps it waiting for too long."""
        while True:
            await asyncio.sleep(self._limits.check_s)
            self._most = min(self._most + 1, self._limits.most)
            now = time.monotonic()
            for connection in list(self._open):
                connection.check(now)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or no memory is left: the listener would stay readable
                self._pause(error)
                return
            self._take(client, address_of(peer))

    def _pause(self, error: OSError) -> None:
        freed = [self._make_room(None) for _ in range(_FREED_AT_ONCE)]
        self._most = max(1, len(self._open))
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.warning("No connection can be accepted (%s). Others that wait are closed.", error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._retry = loop.call_later(0 if any(freed) else _RETRY_S, self.start)

    def _take(self, client: socket.socket, address: str) -> None:
        """Serve a connection, refuse it, or keep it for health and status only."""
        limits = self._limits
        most = self._most + limits.reserved if is_loopback(address) else limits.most_per_address
        has_room = (self._by_address[address] < most or self._make_room(address)) and (
            len(self._open) < self._most + limits.reserved or self._make_room(None)
        )
        if not has_room:
            _turn_away(client)
            return
        connection = Connection(self._server(), limits, address, self._forget)
        connection.is_reserve = len(self._open) >= self._most and not self._make_room(None)
        self._open[connection] = None
        self._by_address[address] += 1
        task = asyncio.get_running_loop().create_task(self._connect(client, connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: socket.socket, connection: Connection) -> None:
        handshake_s = _HANDSHAKE_S if self._tls else None
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, client, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
        except OSError:  # a failed handshake, or a client that has disconnected already
            self._forget(connection)
            client.close()
        except asyncio.CancelledError:
            self._forget(connection)
            client.close()
            raise

    def _make_room(self, address: str | None) -> bool:
        """End the connection that has waited longest for a request, of one address or of any; False if none waits."""
        waiting = (
            each
            for each in self._open
            if each.waiting is not Waiting.ANSWER and (address is None or each.address == address)
        )
        longest = min(waiting, key=lambda each: each.since, default=None)
        if longest is None:
            return False
        longest.abort()
        self._forget(longest)
        return True

    def _forget(self, connection: Connection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]
        if len(self._open) <= self._most:
            for each in self._open:
                each.is_reserve = False


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, listener: socket.socket, limits: ConnectionLimits, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve an app on a listening socket."""
    runner = make_runner(app)
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101 - set up
        acceptor = Acceptor(listener, runner.server, limits, tls)
        acceptor.start()
        try:
            async with running(acceptor.watch()):
                yield
        finally:
            await acceptor.stop()
    finally:
        await runner.cleanup()


def _turn_away(client: socket.socket) -> None:
    with contextlib.suppress(OSError), client:
        client.setblocking(False)
        client.send(raw_answer(OverloadedError("serve.too_many_connections")))
