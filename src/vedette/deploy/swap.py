"""Orders to serve another model: placed by requests and commands, carried out by the deployment's loop alone.

    placed ─► waiting ─► draining ─► starting ─► done
                 │           │           │
                 └───────────┴───────────┴──► failed: nothing has changed, or the model before is started again

An order is one value with one writer: the caller waits for its end, and only the loop moves it on. A further
order waits until the one before has ended.
"""

import asyncio
from dataclasses import dataclass, field

from vedette.deploy.stages import Assignment
from vedette.errors import EngineFailedError, VedetteError


@dataclass(frozen=True)
class Order:
    """To serve another model."""

    assignment: Assignment
    _done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def has_ended(self) -> bool:
        """Whether it was carried out, or has failed."""
        return self._done.done()

    def succeed(self) -> None:
        """The model answers."""
        if not self._done.done():
            self._done.set_result(None)

    def fail(self, error: VedetteError) -> None:
        """Ends the order with an error, unless it has ended before."""
        if not self._done.done():
            self._done.set_exception(error)
            self._done.exception()  # its caller may have hung up

    async def ended(self) -> None:
        """Returns once the model answers. Raises what the order failed with; a cancelled wait does not end it."""
        await asyncio.shield(self._done)


class Orders:
    """The orders of one deployment."""

    def __init__(self) -> None:
        self.closed = False
        """No order is carried out any more."""
        self._unfinished: list[Order] = []
        self._queue: asyncio.Queue[Order] = asyncio.Queue()
        self._under_way: Order | None = None

    @property
    def next_model(self) -> str | None:
        """The model of the order that is under way, also when nobody waits for its end any more."""
        return next((each.assignment.ref.name for each in self._unfinished if not each.has_ended), None)

    async def place(self, assignment: Assignment) -> None:
        """Has another model served; returns once it answers. Raises what the order failed with."""
        if self.closed:
            raise _stopped()
        order = Order(assignment)
        self._unfinished = [*(each for each in self._unfinished if not each.has_ended), order]
        self._queue.put_nowait(order)
        await order.ended()

    async def next(self) -> Order:
        """The order that has waited longest, once there is one."""
        self._under_way = await self._queue.get()
        return self._under_way

    def close(self) -> None:
        """Ends the order that is under way, all that wait, and every later one at once."""
        self.closed = True
        if self._under_way is not None:
            self._under_way.fail(_stopped())
        while not self._queue.empty():
            self._queue.get_nowait().fail(_stopped())


def _stopped() -> EngineFailedError:
    return EngineFailedError("deploy.stopped")
