"""Which model answers a request, and the wait until it can: one that starts, comes back, or takes another's place."""

import asyncio
from contextlib import aclosing

from vedette.errors import EngineUnavailableError, ModelNotFoundError
from vedette.serve.backend import Backend, Served, not_ready

MOST_WAITING = 64
"""Requests that wait at the same time; whoever comes then is sent away at once."""


class Route:
    """Finds the engine for each request."""

    def __init__(self, backend: Backend, wait_s: float) -> None:
        self._backend = backend
        self._wait_s = wait_s
        self._waiting = 0
        self._swaps: dict[str, asyncio.Task[Served]] = {}

    async def find(self, name: str | None) -> Served:
        """Who answers a request for the model `name` (None: the first), ready now; waits for it so long as allowed.

        Raises ModelNotFoundError, EngineUnavailableError, and what a swap raises.
        """
        served = self._named(name)
        if served is not None and _answers(served, name):
            return served
        if self._waiting >= MOST_WAITING:
            raise EngineUnavailableError(f"{MOST_WAITING} requests wait for the engine already.", "Try again later.")
        self._waiting += 1
        try:
            return await asyncio.wait_for(self._answering(name), self._wait_s)
        except asyncio.TimeoutError:
            raise not_ready(self._named(name) or self._backend.served[0]) from None
        finally:
            self._waiting -= 1

    async def _answering(self, name: str | None) -> Served:
        async with aclosing(self._backend.watch()) as changes:
            async for _ in changes:
                served = self._named(name)
                if served is not None and _answers(served, name):
                    return served
                if served is None:
                    assert name is not None  # noqa: S101 - somebody always answers the nameless
                    await self._swap(name)
        raise EngineUnavailableError("vedette stops.", "Start it again with `vedette up`.")

    def _named(self, name: str | None) -> Served | None:
        """Who serves that model, or is about to; None of one that may be swapped in. Raises ModelNotFoundError."""
        there = [served for served in self._backend.served if not served.abandoned]
        for served in there:
            if name is None or served.name is None or name in served.names or name == served.next_model:
                return served
        if self._backend.allow_swap and name in self._backend.installed():
            return None
        if name is None:
            raise EngineUnavailableError("No model is served any more.", "See `vedette status`.")
        names = ", ".join(str(served.name) for served in there)
        raise ModelNotFoundError(
            f"{name[:200]!r} is not served here.", f"Name what is: {names}. `vedette swap MODEL` changes that."
        )

    async def _swap(self, name: str) -> None:
        """Has a model brought in, once for all who wait for it; goes on when nobody does any more."""
        task = self._swaps.get(name)
        if task is None:
            task = self._swaps[name] = asyncio.ensure_future(self._backend.swap(name))
            task.add_done_callback(lambda done: self._forget(name, done))
        await asyncio.shield(task)

    def _forget(self, name: str, task: "asyncio.Task[Served]") -> None:
        del self._swaps[name]
        if not task.cancelled():
            task.exception()  # whoever still waited has been told


def _answers(served: Served, name: str | None) -> bool:
    return served.client is not None and (name is None or name in served.names)
