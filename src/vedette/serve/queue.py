"""One admission for everyone who wants an engine: pages, requests of the API, standing watches.

A plan lets an engine answer `concurrency` requests at once. Further requests wait here and not in the engine, so that
a page's frame is taken when its turn has come, a client that hangs up leaves nothing behind, and a request outlives the
engine that it waited for.

The order of the requests that wait for the same engine:

- A higher class goes first, but a class that waits is passed over at most `MOST_PASSED_OVER` times in a row: then it
  has a turn, the one that was passed over most often first. So pages and watches each have at least every sixth turn,
  however many requests come, and no class starves.
- Inside a class the clients take turns, however many requests each of them has; a client that comes later, or comes
  again, is put at the end. So no client starves, and one client's own requests keep their order.
- The next request waits until there is room for it: no request overtakes because it needs less.
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
"""How many requests of one class may wait at the same time; further ones are refused at once."""
MOST_PASSED_OVER = 4
"""How often in a row higher classes may go before a class that waits for the same engine."""


class Priority(IntEnum):
    """The classes, the most urgent first."""

    PERSON = 0
    """A person who waits for this one answer, or a program that may ask for one: the API."""
    PAGE = 1
    """A page that asks about frame after frame."""
    WATCH = 2
    """A standing watch."""


class Destination(Protocol[_E_co]):
    """Which engine may answer a request; asked again whenever something has changed."""

    def engine(self) -> _E_co | None:
        """The engine that can answer now; None while it is on its way. Raises if none ever will."""

    def too_late(self) -> VedetteError:
        """The error for a request that has waited too long for an engine."""


@dataclass(frozen=True)
class Ticket(Generic[E]):
    """A request for admission."""

    destination: Destination[E]
    priority: Priority
    client: Hashable
    """The sender; clients of a class take turns."""
    wait_s: float | None = None
    """How long it waits while there is no engine, in seconds; None: for ever."""
    takes_slot: bool = True
    """Whether the engine generates for it. Other requests only wait until there is an engine."""
    early: bool = False
    """Whether the engine may have it a little before a slot is free, to prepare it meanwhile (`early_slots`)."""


@dataclass(eq=False)
class _Waiter(Generic[E]):
    ticket: Ticket[E]
    admitted: "asyncio.Future[E]"
    engine: E | None = None
    """The engine that could answer it now, as last seen."""
    giving_up: asyncio.TimerHandle | None = None


@dataclass
class _Lane:
    """The queue's figures of one engine."""

    running: int = 0
    passed_over: Counter[Priority] = field(default_factory=Counter)


class Queue(Generic[E]):
    """Admits requests to engines; `capacity(engine)` may change with the plan."""

    def __init__(self, capacity: Callable[[E], int]) -> None:
        self._capacity = capacity
        self._lanes: dict[E, _Lane] = {}
        self._waiting: dict[Priority, OrderedDict[Hashable, deque[_Waiter[E]]]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._closed = False

    @asynccontextmanager
    async def admit(self, ticket: Ticket[E]) -> AsyncIterator[E]:
        """Wait for an engine, and hold a slot of it; several may be entered at once.

        Raises EngineUnavailableError when too many wait or the queue is closed, what `too_late` returns, and what
        `engine` raises.
        """
        engine = await self._admitted(ticket)
        try:
            yield engine
        finally:
            self._release(ticket, engine)

    def refresh(self) -> None:
        """Admit everyone who can be admitted now, after a capacity, an engine or a name has changed."""
        for waiter in list(self._all()):
            if waiter.admitted.cancelled():  # its client hung up, and its task has not run since
                self._remove(waiter)
            else:
                self._look(waiter)
        for engine in {waiter.engine for waiter in self._all() if waiter.engine is not None}:
            while (following := self._next(engine)) is not None:
                self._enter(following, engine)

    def close(self) -> None:
        """Refuse everyone who waits, and everyone who comes from now on."""
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
        """Remove a waiter whose client has hung up, and who may have been admitted in the same moment."""
        if waiter.admitted.cancelled():
            self._remove(waiter)
            self.refresh()  # others may have waited behind it
        elif waiter.admitted.exception() is None:
            self._release(waiter.ticket, waiter.admitted.result())

    def _look(self, waiter: _Waiter[E]) -> None:
        """Find the engine that could answer a waiter now; refuse one that none ever will."""
        try:
            waiter.engine = waiter.ticket.destination.engine()
        except Exception as error:  # only this request may fail by it, not the one that caused the refresh
            self._refuse(waiter, error)
            return
        if waiter.engine is not None:
            self._stop_clock(waiter)
        elif waiter.giving_up is None and waiter.ticket.wait_s is not None:
            loop = asyncio.get_running_loop()
            waiter.giving_up = loop.call_later(waiter.ticket.wait_s, self._give_up, waiter)

    def _give_up(self, waiter: _Waiter[E]) -> None:
        self._refuse(waiter, waiter.ticket.destination.too_late())

    def _refuse(self, waiter: _Waiter[E], error: Exception) -> None:
        self._remove(waiter)
        if not waiter.admitted.done():
            waiter.admitted.set_exception(error)

    def _next(self, engine: E) -> _Waiter[E] | None:
        """The waiter that enters this engine now; None if there is none, or no room for the next one yet."""
        for waiter in self._all():
            if waiter.engine == engine and not waiter.ticket.takes_slot:
                return waiter
        first = {priority: each for priority in Priority if (each := self._first(priority, engine)) is not None}
        if not first:
            return None
        passed_over = self._lane(engine).passed_over
        due = [priority for priority in first if passed_over[priority] >= MOST_PASSED_OVER]
        waiter = first[max(due, key=passed_over.__getitem__) if due else min(first)]
        return waiter if self._lane(engine).running < self._room(waiter, engine) else None

    def _first(self, priority: Priority, engine: E) -> _Waiter[E] | None:
        """The first waiter of a class that takes a slot of this engine."""
        waiters = (waiter for queue in self._waiting[priority].values() for waiter in queue)
        return next((waiter for waiter in waiters if waiter.engine == engine), None)

    def _room(self, waiter: _Waiter[E], engine: E) -> int:
        """How many may run at most when this one enters."""
        capacity = max(1, self._capacity(engine))
        return capacity + early_slots(capacity) if waiter.ticket.early else capacity

    def _enter(self, waiter: _Waiter[E], engine: E) -> None:
        ticket = waiter.ticket
        if ticket.takes_slot:
            lane = self._lane(engine)
            lane.running += 1
            lane.passed_over[ticket.priority] = 0
            for priority in Priority:
                if priority > ticket.priority and self._first(priority, engine) is not None:
                    lane.passed_over[priority] += 1
        self._remove(waiter)
        clients = self._waiting[ticket.priority]
        if ticket.takes_slot and ticket.client in clients:
            clients.move_to_end(ticket.client)
        waiter.admitted.set_result(engine)

    def _release(self, ticket: Ticket[E], engine: E) -> None:
        if ticket.takes_slot:
            self._lane(engine).running -= 1
        self.refresh()

    def _remove(self, waiter: _Waiter[E]) -> None:
        self._stop_clock(waiter)
        clients = self._waiting[waiter.ticket.priority]
        queue = clients.get(waiter.ticket.client)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del clients[waiter.ticket.client]

    def _stop_clock(self, waiter: _Waiter[E]) -> None:
        if waiter.giving_up is not None:
            waiter.giving_up.cancel()
            waiter.giving_up = None

    def _lane(self, engine: E) -> _Lane:
        return self._lanes.setdefault(engine, _Lane())

    def _all(self) -> Iterator[_Waiter[E]]:
        """Everyone who waits, class by class."""
        for clients in self._waiting.values():
            for queue in clients.values():
                yield from queue


def early_slots(capacity: int) -> int:
    """How many requests an engine may have beyond those that it answers at once.

    vLLM's server reads and tokenizes a request and scales its pictures before the request can take the place of another
    one. Without a request in reserve the engine would be idle for that time after every answer.
    """
    return 1 + capacity // 4
