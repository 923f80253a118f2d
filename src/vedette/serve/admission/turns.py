"""A lock that clients take in turns: one that asks again and again does not keep the others waiting."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from vedette.errors import OverloadedError


class Turns:
    """Let one in at a time. At most `most` wait, and `most_of_one` of a single client."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._taken = False
        self._asked: Counter[Hashable] = Counter()
        """Those that wait or are inside, by their clients."""
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        """The client whose turn is next is the first."""

    @property
    def asked(self) -> int:
        """How many wait or are inside."""
        return sum(self._asked.values())

    @asynccontextmanager
    async def of(self, client: Hashable) -> AsyncIterator[None]:
        """Inside, it is the client's turn. Raises OverloadedError if too many wait."""
        if self.asked >= self._most or self._asked[client] >= self._most_of_one:
            raise OverloadedError("serve.pictures_busy", waiting=self.asked)
        self._asked[client] += 1
        try:
            await self._take(client)
            try:
                yield
            finally:
                self._pass_on()
        finally:
            self._asked[client] -= 1
            if not self._asked[client]:
                del self._asked[client]

    async def _take(self, client: Hashable) -> None:
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it has just become this one's turn
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Let the next one in: the first of the client that has waited longest."""
        while self._waiting:
            client, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
