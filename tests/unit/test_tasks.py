"""Work that races: who wins, what is raised, and that no task is ever left."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from vedette import tasks
from vedette.tasks import cancel, first_of, in_own_thread, running, within


class Lost(Exception):
    pass


class Work:
    """Work that ends on request, and records how it ended."""

    def __init__(self, cleanup: asyncio.Event | None = None) -> None:
        self.end = asyncio.Event()
        self.began = False
        self.cancelled = False
        self.cleaned = False
        self._cleanup = cleanup

    async def run(self, result: object = "done") -> Any:
        self.began = True
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if self._cleanup is not None:
                await self._cleanup.wait()
            self.cleaned = True
            raise
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert left == set()


async def settled(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """A task that has begun and waits."""
    task = asyncio.ensure_future(work)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_the_result_of_the_work_ends_the_others() -> None:
    work, other = Work(), Work()
    racing = await settled(first_of(work.run("result"), other.run()))
    work.end.set()
    assert await racing == "result"
    assert other.cancelled


async def test_none_comes_of_work_that_was_outrun() -> None:
    work, first, second = Work(), Work(), Work()
    racing = await settled(first_of(work.run(), first.run(), second.run()))
    second.end.set()
    assert await racing is None
    assert (work.cancelled, first.cancelled, second.cancelled) == (True, True, False)


async def test_what_ends_is_waited_for_until_it_has_cleaned_up() -> None:
    cleanup = asyncio.Event()
    work, other = Work(cleanup), Work()
    racing = await settled(first_of(work.run(), other.run()))
    other.end.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert work.cancelled
    assert not racing.done()
    cleanup.set()
    assert await racing is None
    assert work.cleaned


@pytest.mark.parametrize("who", ["work", "other"])
async def test_an_error_comes_through_and_ends_the_rest(who: str) -> None:
    work, other = Work(), Work()
    results = (Lost(), None) if who == "work" else (None, Lost())
    racing = await settled(first_of(work.run(results[0]), other.run(results[1])))
    (work if who == "work" else other).end.set()
    with pytest.raises(Lost):
        await racing
    assert (other if who == "work" else work).cancelled


async def test_of_both_at_once_the_result_counts_and_an_error_of_the_work_does_not() -> None:
    async def at_once(work: object, other: object) -> object:
        both = (Work(), Work())
        racing = await settled(first_of(both[0].run(work), both[1].run(other)))
        for each in both:
            each.end.set()
        return await racing

    assert await at_once("result", None) == "result"
    assert await at_once("result", Lost()) == "result"
    assert await at_once(Lost(), "ended") is None
    with pytest.raises(Lost, match="of the other"):
        await at_once(Lost("of the work"), Lost("of the other"))


async def test_work_that_is_cancelled_by_somebody_else_cancels_whoever_waits() -> None:
    work, other = asyncio.ensure_future(Work().run()), Work()
    racing = await settled(first_of(work, other.run()))
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert other.cancelled


async def test_work_that_has_ended_before_is_a_result() -> None:
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    work.set_result("early")
    assert await first_of(work, Work().run()) == "early"


async def test_a_cancellation_while_both_run_ends_both() -> None:
    cleanup = asyncio.Event()
    work, other = Work(cleanup), Work(cleanup)
    racing = await settled(first_of(work.run(), other.run()))
    racing.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (work.cancelled, other.cancelled, racing.done()) == (True, True, False)
    cleanup.set()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert (work.cleaned, other.cleaned) == (True, True)


async def test_a_cancellation_while_the_loser_cleans_up_waits_for_it() -> None:
    cleanup = asyncio.Event()
    work, other = Work(), Work(cleanup)
    racing = await settled(first_of(work.run("result"), other.run()))
    work.end.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert other.cancelled
    racing.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not racing.done()
    cleanup.set()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert other.cleaned


async def test_a_cancellation_before_anything_has_begun_leaves_nothing() -> None:
    work, other = Work(), Work()
    racing = asyncio.ensure_future(first_of(work.run(), other.run()))
    await asyncio.sleep(0)  # it waits, and neither has had its turn
    assert not work.began
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing


async def test_a_cancellation_that_meets_an_error_is_still_one() -> None:
    work, other = Work(), Work()
    racing = await settled(first_of(work.run(Lost()), other.run()))
    work.end.set()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing


async def test_cancelling_drops_what_the_tasks_raise_and_takes_those_that_have_ended() -> None:
    async def raises_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Lost from None

    failing = await settled(raises_when_cancelled())
    ended = asyncio.ensure_future(asyncio.sleep(0, "ended"))
    await ended
    await cancel(failing, ended)
    await cancel()
    assert isinstance(failing.exception(), Lost)
    assert ended.result() == "ended"


async def test_work_beside_a_body_ends_with_it() -> None:
    cleanup, works = asyncio.Event(), (Work(), Work())
    cleanup.set()

    async def body() -> None:
        async with running(*(work.run() for work in works)) as tasks:
            await asyncio.sleep(0)
            assert [task.done() for task in tasks] == [False, False]
            raise Lost

    with pytest.raises(Lost):
        await body()
    assert [work.cancelled for work in works] == [True, True]


async def test_a_body_that_is_cancelled_waits_for_the_work_beside_it() -> None:
    cleanup = asyncio.Event()
    work = Work(cleanup)

    async def body() -> None:
        async with running(work.run()):
            await asyncio.Event().wait()

    waiting = await settled(body())
    waiting.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (work.cancelled, waiting.done()) == (True, False)
    cleanup.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_work_that_hangs_is_left_behind_and_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MOST_STUCK", 2)
    released = threading.Event()
    assert within(10, int, "7") == 7
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 / 0)
    try:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                within(0.05, released.wait)
        before = threading.active_count()
        with pytest.raises(TimeoutError):
            within(10, int, "7")
        assert threading.active_count() == before
    finally:
        released.set()


async def test_a_thread_of_its_own_gives_results_errors_and_is_left_when_cancelled() -> None:
    assert await in_own_thread(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await in_own_thread(int, "x")
    released, ended = threading.Event(), threading.Event()

    def work() -> None:
        released.wait()
        ended.set()

    task = asyncio.ensure_future(in_own_thread(work))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    released.set()
    assert ended.wait(10)


def test_a_program_ends_while_such_work_hangs() -> None:
    code = "import asyncio, threading; from vedette.tasks import in_own_thread\n"
    code += "async def main():\n    await asyncio.wait_for(in_own_thread(threading.Event().wait), 0.1)\n"
    code += "try:\n    asyncio.run(main())\nexcept asyncio.TimeoutError:\n    print('ended')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert result.stdout == "ended\n", result.stderr
