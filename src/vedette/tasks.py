"""Asyncio work that races against an event: the one place that cancels, waits and passes results on."""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def cancel(*tasks: "asyncio.Future[Any]") -> None:
    """Cancels tasks and returns once all have ended, however they end; what they raise is dropped.

    A cancellation of the caller meanwhile is not swallowed: it comes through at once.
    """
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def first_of(work: Awaitable[_T], *others: Awaitable[Any]) -> _T | None:
    """The result of `work`, or None if one of `others` ended first; what has not ended is cancelled and waited for.

    Raises what `work` raises, and what an other that ended first raises.
    """
    working = asyncio.ensure_future(work)
    racing = [asyncio.ensure_future(other) for other in others]
    try:
        await asyncio.wait({working, *racing}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        for other in racing:
            if other.done():
                other.result()
        return None
    finally:
        await cancel(working, *racing)


@contextlib.asynccontextmanager
async def running(*works: Awaitable[Any]) -> Any:
    """Does `works` beside the body, and cancels and waits for them at its end."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield tasks
    finally:
        await cancel(*tasks)
