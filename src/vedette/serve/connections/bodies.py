"""The bodies of requests that are held in memory, counted by client: all have a limit, and each client a part of it.

Where there is no room for a further byte, a body that is still incomplete and comes slowest makes room, of the client
that holds the most. So nobody keeps others out by sending large requests slowly.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from vedette.errors import OverloadedError
from vedette.serve.connections.addresses import address_of
from vedette.serve.connections.connection import Connection, connection_of
from vedette.serve.connections.limits import ConnectionLimits

_WINDOW_S = 1.0
"""A body's speed is that of the last whole window; before the first it counts as fast."""


class Body:
    """The body of one request."""

    def __init__(self, client: str, connection: Connection | None) -> None:
        self.data = bytearray()
        self.client = client
        self.connection = connection
        self.is_whole = False
        self._window_at = time.monotonic()
        self._window_bytes = 0
        self._bytes_per_s = float("inf")

    def bytes_per_s(self) -> float:
        """How fast it comes."""
        elapsed_s = time.monotonic() - self._window_at
        return self._bytes_per_s if elapsed_s < _WINDOW_S else (len(self.data) - self._window_bytes) / elapsed_s

    def add(self, chunk: bytes) -> None:
        """Take further bytes."""
        if time.monotonic() - self._window_at >= _WINDOW_S:
            self._bytes_per_s = self.bytes_per_s()
            self._window_at, self._window_bytes = time.monotonic(), len(self.data)
        self.data += chunk


class Bodies:
    """All bodies that are held."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._bodies: dict[Body, None] = {}
        self._by_client: Counter[str] = Counter()

    @contextmanager
    def hold(self, request: web.Request) -> Iterator[Body]:
        """A request's body, empty yet, that counts until the block ends."""
        body = Body(address_of((request.remote,)), connection_of(request))
        self._bodies[body] = None
        try:
            yield body
        finally:
            self._release(body)

    def add(self, body: Body, chunk: bytes) -> None:
        """Take further bytes of a body. Raises OverloadedError if there is no room for them and none can be made."""
        if body not in self._bodies:
            raise OverloadedError("serve.body_dropped")
        body.add(chunk)
        self._by_client[body.client] += len(chunk)
        while self._by_client[body.client] > self._limits.held_bytes_per_client:
            self._drop_slowest(body.client, body)
        while self._by_client.total() > self._limits.held_bytes:
            most = max((each.client for each in self._incomplete()), key=self._by_client.__getitem__)
            self._drop_slowest(most, body)

    def _drop_slowest(self, client: str, newest: Body) -> None:
        """Drop one body of a client. Raises OverloadedError where that is the one that grows."""
        own = [each for each in self._incomplete() if each.client == client]
        slowest = min(own, key=lambda each: (each.bytes_per_s(), each is not newest))
        if slowest is newest or slowest.connection is None:
            raise OverloadedError("serve.bodies_too_large")
        slowest.connection.refuse(OverloadedError("serve.body_dropped"))
        self._release(slowest)

    def _incomplete(self) -> Iterator[Body]:
        return (each for each in self._bodies if not each.is_whole)

    def _release(self, body: Body) -> None:
        if body in self._bodies:
            del self._bodies[body]
            self._by_client[body.client] -= len(body.data)
            if not self._by_client[body.client]:
                del self._by_client[body.client]
            body.data = bytearray()
