"""Which model answers a request: by the name that the request gives, with a swap where that is allowed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from vedette.errors import EngineUnavailableError, ModelNotFoundError, VedetteError
from vedette.serve.backend import Backend, Served, not_ready


class Route:
    """Finds the model for each request; `changed` is called when a swap that it ordered has ended."""

    def __init__(self, backend: Backend, changed: Callable[[], None]) -> None:
        self._backend = backend
        self._changed = changed
        self._swaps: dict[str, asyncio.Task[Served]] = {}

    def to(self, name: str | None) -> "ByName":
        """The destination (serve/queue.py) of a request for the model `name`; None: for any model."""
        return ByName(self, name)

    def named(self, name: str | None) -> Served | None:
        """The model of that name, served or next; None if a swap may bring it in.

        Raises ModelNotFoundError for any other name, EngineUnavailableError if no model is served any more.
        """
        alive = [served for served in self._backend.served if not served.abandoned]
        for served in alive:
            known = (*served.names, served.next_model, *served.leaving)
            if name is None or served.name is None or name in known:
                return served
        if name is None:
            raise EngineUnavailableError("serve.nothing_served")
        if self._backend.allow_swap and name in self._backend.installed():
            return None
        names = tuple(str(served.name) for served in alive)
        raise ModelNotFoundError("serve.model_not_served", name=repr(name[:200]), served=names)

    def settled(self, name: str | None) -> Served | None:
        """The model of that name where no swap is about to change what the name means; None otherwise.

        Raises what `named` raises.
        """
        served = self.named(name)
        if served is None or served.next_model is not None or (name is not None and name not in served.names):
            return None
        return served

    def swap(self, name: str) -> "asyncio.Task[Served]":
        """The swap to a model, one for everyone who waits for it; it goes on when nobody waits any more."""
        task = self._swaps.get(name)
        if task is None:
            task = self._swaps[name] = asyncio.ensure_future(self._backend.swap(name))
            task.add_done_callback(lambda done: self._forget(name, done))
        return task

    def late(self, name: str | None) -> VedetteError:
        """The error for a request that waited too long for the model `name`."""
        try:
            return not_ready(self.named(name) or self._backend.served[0])
        except VedetteError as error:
            return error

    def _forget(self, name: str, task: "asyncio.Task[Served]") -> None:
        del self._swaps[name]
        if not task.cancelled():
            task.exception()  # every request that waits for the swap raises it; without one nobody needs it
        self._changed()


@dataclass
class ByName:
    """The model of a name, wherever it is served."""

    route: Route
    name: str | None
    _swap: "asyncio.Task[Served] | None" = field(default=None, init=False)

    def engine(self) -> Served | None:
        """The model if it answers now; None while it starts, comes back or is swapped in.

        Raises ModelNotFoundError, EngineUnavailableError, and what the swap to it raised.
        """
        served = self.route.named(self.name)
        if served is not None:
            return served if _answers(served, self.name) else None
        if self._swap is not None and self._swap.done():
            swap, self._swap = self._swap, None
            swap.result()  # it has come and is replaced again already: with the next change it is swapped in again
        elif self.name is not None:
            self._swap = self.route.swap(self.name)
        return None

    def too_late(self) -> VedetteError:
        """The state of the model that did not come."""
        return self.route.late(self.name)


@dataclass(frozen=True)
class ByServed:
    """One served model, whatever its name is by now: the model of a page."""

    served: Served

    def engine(self) -> Served | None:
        """The model if it answers now."""
        return self.served if self.served.client is not None and self.served.context is not None else None

    def too_late(self) -> VedetteError:
        """The state of the model."""
        return not_ready(self.served)


def _answers(served: Served, name: str | None) -> bool:
    return served.client is not None and (name is None or name in served.names)
