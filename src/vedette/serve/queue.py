"""The queue of requests that wait for an engine: from the API, from pages and from watches.

A plan lets an engine answer `concurrency` requests at once. Further requests wait here and not in the engine. So a
page's frame is taken only when the page has its turn, the request of a client that disconnects is removed at once, and
a request can go on waiting when its engine crashes or is stopped.

The order of the requests that wait for the same engine:

- A higher class goes first. But a waiting class is passed over at most `MOST_PASSED_OVER` times in a row; then it has
  a turn. If several classes have reached this limit, the class that was passed over most often goes first. So pages and
  watches each have at least every sixth turn, however many requests arrive, and no class starves.
- Inside a class the clients take turns, however many requests each of them has. A new client, and a client that has
  just had a turn, goes to the end. So no client starves, and the requests of one client keep their order.
- The next request waits until there is room for it. No later request overtakes it. A request for several answers
  takes a slot for each.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

from vedette.errors import EngineUnavailableError, VedetteError

E = TypeVar("E")
_E_co = TypeVar("_E_co", covariant=True)

MOST_WAITING = 256
"""How many requests of one class may wait at the same time. Further requests are refused at once."""
MOST_PASSED_OVER = 4
"""How often in a row a waiting class may be passed over by higher classes at the same engine."""


class Priority(IntEnum):
    """The classes of requests, the most urgent first."""

    PERSON = 0
    """A request to the API, or a single question from a page: a person may be waiting for this answer."""
    PAGE = 1
    """A request of a page that asks about one frame after another."""
    WATCH = 2
    """A request of a watch."""


class Destination(Protocol[_E_co]):
    """Finds the engine for a request. The queue asks again after every change."""

    def engine(self) -> _E_co | None:
        """Return the engine that can answer now; None while it is starting. Raises if no engine will ever answer."""

    def too_late(self) -> VedetteError:
        """Return the error for a request that has waited too long for an engine."""


class WaitLimit:
    """How long one request may wait in all while there is no engine. The clock runs only during this time.

    A request that loses its engine and waits again goes on with the rest of its time, also with a second admission.
    """

    def __init__(self, wait_s: float) -> None:
        self._left_s = wait_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self, on_end: Callable[[], None]) -> None:
        """Let the clock run, if it does not run yet; `on_end` is called when no time is left."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._left_s, on_end)

    def stop(self) -> None:
        """Stop the clock and keep the rest of the time."""
        if self._timer is not None:
            self._left_s = max(0.0, self._timer.when() - asyncio.get_running_loop().time())
            self._timer.cancel()
            self._timer = None


@dataclass(frozen=True)
class Ticket(Generic[E]):
    """A request for admission."""

    destination: Destination[E]
    priority: Priority
    client: Hashable
    """The sender of the request. The clients of a class take turns."""
    wait_limit: "WaitLimit | None" = None
    """How long the request waits while there is no engine; None: without limit."""
    takes_slot: bool = True
    """Whether the engine generates text for the request. Other requests only wait until there is an engine."""
    slots: int = 1
    """How many it takes: the answers that the engine generates for it at once."""
    early: bool = False
    """Whether the engine may receive the request before a slot is free, and prepare it meanwhile (`early_slots`)."""


@dataclass(eq=False)
class _Waiter(Generic[E]):
    ticket: Ticket[E]
    admitted: "asyncio.Future[E]"
    engine: E | None = None
    """The engine that could answer this request at the last check; None if there was none."""


@dataclass
class _Counts:
    """What the queue counts for one engine."""

    running: int = 0
    """Slots that its requests hold."""
    passed_over: Counter[Priority] = field(default_factory=Counter)
    """How often in a row each waiting class was passed over."""


class Queue(Generic[E]):
    """Admits requests to engines. `capacity(engine)` is the plan's concurrency, and may change with the plan."""

    def __init__(self, capacity: Callable[[E], int]) -> None:
        self._capacity = capacity
        self._counts: dict[E, _Counts] = {}
        self._waiting: dict[Priority, OrderedDict[Hashable, deque[_Waiter[E]]]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._closed = False

    @asynccontextmanager
    async def admit(self, ticket: Ticket[E]) -> AsyncIterator[E]:
        """Wait for an engine and hold the ticket's slots inside the block. Several blocks may be open at once.

        Raises EngineUnavailableError when too many requests wait or the queue is closed, the error that the
        destination's `too_late` returns, and any error that its `engine` raises.
        """
        engine = await self._admitted(ticket)
        try:
            yield engine
        finally:
            self._release(ticket, engine)

    def refresh(self) -> None:
        """Admit all requests that can be admitted now. Call it after a capacity, an engine or a name has changed."""
        for waiter in list(self._all()):
            if waiter.admitted.cancelled():  # its client has disconnected, and its task has not run since
                self._remove(waiter)
            else:
                self._find_engine(waiter)
        for engine in {waiter.engine for waiter in self._all() if waiter.engine is not None}:
            while (following := self._next(engine)) is not None:
                self._enter(following, engine)

    def close(self) -> None:
        """Refuse all waiting requests and all later ones."""
        self._closed = True
        for waiter in list(self._all()):
            self._refuse(waiter, EngineUnavailableError("serve.stopping"))

    async def _admitted(self, ticket: Ticket[E]) -> E:
        if self._closed:
            raise EngineUnavailableError("serve.stopping")
        admitted: asyncio.Future[E] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(ticket, admitted)
        self._waiting[ticket.priority].setdefault(ticket.client, deque()).append(waiter)
        self.refresh()
        waiting = sum(map(len, self._waiting[ticket.priority].values()))
        if waiting > MOST_WAITING and not waiter.admitted.done():
            self._refuse(waiter, EngineUnavailableError("serve.queue_full", waiting=MOST_WAITING))
            self.refresh()
        try:
            return await admitted
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def _leave(self, waiter: _Waiter[E]) -> None:
        """Remove a waiter whose client has disconnected; release its slot if it was admitted at the same moment."""
        if waiter.admitted.cancelled():
            self._remove(waiter)
            self.refresh()  # other requests may have waited behind this one
        elif waiter.admitted.exception() is None:
            self._release(waiter.ticket, waiter.admitted.result())

    def _find_engine(self, waiter: _Waiter[E]) -> None:
        """Find the engine that could answer this waiter now; refuse the waiter if no engine ever will."""
        try:
            waiter.engine = waiter.ticket.destination.engine()
        except Exception as error:  # it must reach this request only, not the request that caused the refresh
            self._refuse(waiter, error)
            return
        limit = waiter.ticket.wait_limit
        if limit is not None and waiter.engine is not None:
            limit.stop()
        elif limit is not None:
            limit.start(lambda: self._refuse(waiter, waiter.ticket.destination.too_late()))

    def _refuse(self, waiter: _Waiter[E], error: Exception) -> None:
        self._remove(waiter)
        if not waiter.admitted.done():
            waiter.admitted.set_exception(error)

    def _next(self, engine: E) -> _Waiter[E] | None:
        """Return the waiter to admit to this engine now; None if nobody waits or the next waiter has no room yet."""
        for waiter in self._all():
            if waiter.engine == engine and not waiter.ticket.takes_slot:
                return waiter
        first = {priority: each for priority in Priority if (each := self._first(priority, engine)) is not None}
        if not first:
            return None
        passed_over = self._counts_of(engine).passed_over
        due = [priority for priority in first if passed_over[priority] >= MOST_PASSED_OVER]
        waiter = first[max(due, key=passed_over.__getitem__) if due else min(first)]
        running = self._counts_of(engine).running
        fits = running == 0 or running + waiter.ticket.slots <= self._room(waiter, engine)
        return waiter if fits else None

    def _first(self, priority: Priority, engine: E) -> _Waiter[E] | None:
        """Return the first waiter of a class among those for this engine."""
        waiters = (waiter for queue in self._waiting[priority].values() for waiter in queue)
        return next((waiter for waiter in waiters if waiter.engine == engine), None)

    def _room(self, waiter: _Waiter[E], engine: E) -> int:
        """Return how many slots may be held when this waiter is admitted, its own included."""
        capacity = max(1, self._capacity(engine))
        return capacity + early_slots(capacity) if waiter.ticket.early else capacity

    def _enter(self, waiter: _Waiter[E], engine: E) -> None:
        ticket = waiter.ticket
        if ticket.takes_slot:
            counts = self._counts_of(engine)
            counts.running += ticket.slots
            counts.passed_over[ticket.priority] = 0
            for priority in Priority:
                if priority > ticket.priority and self._first(priority, engine) is not None:
                    counts.passed_over[priority] += 1
        self._remove(waiter)
        clients = self._waiting[ticket.priority]
        if ticket.takes_slot and ticket.client in clients:
            clients.move_to_end(ticket.client)
        waiter.admitted.set_result(engine)

    def _release(self, ticket: Ticket[E], engine: E) -> None:
        if ticket.takes_slot:
            self._counts_of(engine).running -= ticket.slots
        self.refresh()

    def _remove(self, waiter: _Waiter[E]) -> None:
        if waiter.ticket.wait_limit is not None:
            waiter.ticket.wait_limit.stop()
        clients = self._waiting[waiter.ticket.priority]
        queue = clients.get(waiter.ticket.client)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del clients[waiter.ticket.client]

    def _counts_of(self, engine: E) -> _Counts:
        return self._counts.setdefault(engine, _Counts())

    def _all(self) -> Iterator[_Waiter[E]]:
        """Yield all waiters, class by class."""
        for clients in self._waiting.values():
            for queue in clients.values():
                yield from queue


def early_slots(capacity: int) -> int:
    """Return how many requests an engine may hold beyond those that it answers at once.

    vLLM's server first reads and tokenizes a request and scales its pictures; only then can the request start. Without
    a prepared request the engine would be idle for this time after every answer.
    """
    return 1 + capacity // 4
