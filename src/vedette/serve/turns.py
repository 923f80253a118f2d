"""Who may use the engine next: first come, first served, so that pages that ask again and again take turns."""

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turns:
    """Hands out `capacity()` slots at a time; the capacity may change with the plan."""

    def __init__(self, capacity: Callable[[], int]) -> None:
        self._capacity = capacity
        self._taken = 0
        self._waiting: deque[Future[None]] = deque()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Waits for a slot and holds it."""
        await self._wait()
        try:
            yield
        finally:
            self._taken -= 1
            self._admit()

    async def _wait(self) -> None:
        turn: Future[None] = get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # admitted and cancelled in the same moment
                self._taken -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._taken < max(1, self._capacity()):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._taken += 1
