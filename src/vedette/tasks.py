"""Work that races against other work, or against time: the one place that cancels, waits and passes results on."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
MOST_STUCK = 4
"""Threads that may hang at a time: later work is refused at once."""
_STUCK = "stuck work"
"""The name of threads that nobody waits for any more."""


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


async def in_own_thread(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """As `asyncio.to_thread`, for work that may hang: the end of the program does not wait for its thread."""
    return await asyncio.wrap_future(_begin(function, *args, **kwargs)[1])


def within(seconds: float, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What `function` returns or raises. Raises TimeoutError if that takes longer; its thread is left behind.

    A thread cannot be stopped while the kernel waits for a file server. While MOST_STUCK are left behind, no other is
    begun: TimeoutError at once.
    """
    if sum(each.name == _STUCK for each in threading.enumerate()) >= MOST_STUCK:
        raise TimeoutError
    thread, future = _begin(function, *args, **kwargs)
    thread.join(seconds)
    if not future.done():
        thread.name = _STUCK
        raise TimeoutError
    return future.result()


def _begin(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "tuple[threading.Thread, Future[_T]]":
    future: Future[_T] = Future()

    def work() -> None:
        with contextlib.suppress(InvalidStateError):  # it was cancelled meanwhile
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # the caller that waits raises it
                future.set_exception(error)
            else:
                future.set_result(result)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, future
