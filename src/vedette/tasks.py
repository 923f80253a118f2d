"""Asyncio work that races against other work: the one place that cancels, waits and passes results on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")


async def cancel(*tasks: "asyncio.Future[Any]") -> None:
    """Cancels tasks and returns once all have ended, however they end; what they raise is dropped.

    If the caller is cancelled meanwhile, it still waits for all of them, and is cancelled then.
    """
    for task in tasks:
        task.cancel()
    cancelled = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if cancelled is not None:
        raise cancelled


async def first_of(work: Awaitable[_T], *others: Awaitable[Any]) -> _T | None:
    """The result of `work`, or None if one of `others` ended first. All that has not ended is cancelled and waited for.

    Raises what `work` raises, and what an other that ended first raises. Where both have ended at once, a result of
    `work` comes first, and an error of `work` last: the end of the other may be the reason for it.
    """
    working = asyncio.ensure_future(work)
    racing = [asyncio.ensure_future(other) for other in others]
    try:
        await asyncio.wait({working, *racing}, return_when=asyncio.FIRST_COMPLETED)
        ended = [other for other in racing if other.done()]
        if working.done() and (not ended or working.cancelled() or working.exception() is None):
            return working.result()
        for other in ended:
            other.result()
        return None
    finally:
        await cancel(working, *racing)


@contextlib.asynccontextmanager
async def running(*works: Awaitable[Any]) -> AsyncIterator[Sequence["asyncio.Future[Any]"]]:
    """Does `works` beside the body, and cancels and waits for them at its end."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield tasks
    finally:
        await cancel(*tasks)
