"""The one process that decodes pictures: started when it is needed, bounded by the kernel, ended when it is idle."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec

from vedette.errors import BadInputError, OverloadedError, TooLargeError, VedetteError
from vedette.serve.admission.turns import Turns
from vedette.serve.admission.worker_orders import (
    FILMS,
    PICTURES,
    Answer,
    Bounds,
    Order,
    error_of,
    too_much_memory,
    too_much_time,
)
from vedette.units import MIB

_WALL_S = 45.0
_IDLE_S = 30.0
MOST_WAITING = 32
"""Orders that wait for the worker, or are carried out. Further ones are refused: each holds its data in memory."""
MOST_OF_ONE = 24
"""The same for one client."""
_EXIT_S = 2.0
"""Time for a worker that has closed its output to end by itself: only then does its exit status say why."""
_MOST_BYTES = 32 * MIB
"""Of a file."""
_PIECE_BYTES = 65_536
_MOST_ANSWER_BYTES = 64 * MIB
_WORKER = Path(__file__).with_name("picture_worker.py")
_MEMORY_RETURNED = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Return every large block to the system at once: after a large picture the worker is as small as before."""


@dataclass(frozen=True)
class _Running:
    process: asyncio.subprocess.Process
    bounds: Bounds
    source: asyncio.StreamReader
    sink: asyncio.StreamWriter


class WorkerProcess:
    """Runs orders one after another. `close` it."""

    def __init__(self, idle_s: float = _IDLE_S, pictures: Bounds = PICTURES, films: Bounds = FILMS) -> None:
        self._idle_s = idle_s
        self._pictures = pictures
        self._films = films
        self._turns = Turns(MOST_WAITING, MOST_OF_ONE)
        self._is_closed = False
        self._running: _Running | None = None
        self._orders = 0
        """Orders that the process was given."""
        self._end: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._running.process.pid if self._running else None

    async def run(self, order: Order, data: bytes, client: Hashable = None) -> tuple[bytes, ...]:
        """The parts that the worker makes of a file. Clients take turns.

        Raises BadInputError for a file that it cannot use, TooLargeError for one beyond its bounds, and
        OverloadedError if too many wait.
        """
        if len(data) > _MOST_BYTES:
            raise TooLargeError("serve.media_too_large", size_bytes=len(data), limit_bytes=_MOST_BYTES)
        async with self._turns.of(client):
            if self._is_closed:
                raise OverloadedError("serve.no_picture_worker")
            self._keep()
            return await self._run(order, data)

    async def close(self) -> None:
        """End the process; what waits for it is refused."""
        self._is_closed = True
        await self._kill()

    async def _run(self, order: Order, data: bytes) -> tuple[bytes, ...]:
        bounds = self._films if order.do == "film" else self._pictures
        answer, parts = await self._attempt(order, data, bounds)
        if answer.refused == "memory" and self._orders > 1:
            # Other orders have left its memory in pieces: an honest picture must not pay for them.
            await self._kill()
            answer, parts = await self._attempt(order, data, bounds)
        if answer.refused == "memory":  # what could not be allocated may be missing later
            await self._kill()
        self._end = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)
        if answer.refused is not None:
            raise error_of(answer, order, bounds)
        return parts

    async def _attempt(self, order: Order, data: bytes, bounds: Bounds) -> tuple[Answer, tuple[bytes, ...]]:
        try:
            return await asyncio.wait_for(self._exchange(order, data, bounds), _WALL_S)
        except asyncio.TimeoutError:
            await self._kill()
            raise too_much_time(bounds) from None
        except (OSError, EOFError):
            raise _ended(await self._kill(_EXIT_S), bounds) from None
        except BaseException:
            await self._kill()  # it is in the midst of an order that nobody waits for
            raise

    async def _exchange(self, order: Order, data: bytes, bounds: Bounds) -> tuple[Answer, tuple[bytes, ...]]:
        if self._running is not None and self._running.bounds != bounds:
            await self._kill()
        if self._running is None or self._running.process.returncode is not None:  # something else may have ended it
            self._running, self._orders = await _start(bounds), 0
        self._orders += 1
        running = self._running
        running.sink.write(msgspec.json.encode(order) + b"\n")
        with memoryview(data) as whole:
            for at in range(0, len(data), _PIECE_BYTES):  # in pieces: the writer copies what the pipe does not take
                running.sink.write(whole[at : at + _PIECE_BYTES])
                await running.sink.drain()
        answer = msgspec.json.decode(await running.source.readuntil(), type=Answer)
        if sum(answer.parts) > _MOST_ANSWER_BYTES or min(answer.parts, default=0) < 0:
            raise EOFError(answer.parts)
        return answer, tuple([await running.source.readexactly(length) for length in answer.parts])

    def _keep(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _end_idle(self) -> None:
        self._end = None
        if self._running is not None and not self._turns.asked:
            self._running.sink.close()  # at the end of its input it ends
            self._running = None

    async def _kill(self, grace_s: float = 0.0) -> int | None:
        """End the process, if there is one; return how it ended, as `returncode`. grace_s: to end by itself."""
        self._keep()
        running, self._running = self._running, None
        if running is None:
            return None
        running.sink.close()
        with contextlib.suppress(asyncio.TimeoutError):
            if grace_s:
                return await asyncio.wait_for(running.process.wait(), grace_s)
        with contextlib.suppress(ProcessLookupError):
            running.process.kill()
        return await running.process.wait()


async def _start(bounds: Bounds) -> _Running:
    packages = os.pathsep.join(sorted(filter(None, map(_packages_of, ("PIL", "av")))))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_WORKER), packages, str(bounds.memory_bytes), str(bounds.cpu_s)),
        env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ} | _MEMORY_RETURNED,
        cwd="/",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - both are pipes
    assert process.stdin is not None  # noqa: S101
    return _Running(process, bounds, process.stdout, process.stdin)


def _ended(returncode: int | None, bounds: Bounds) -> VedetteError:
    """Why the worker ended in the midst of an order; None: it could not be started, or vedette stops."""
    if returncode is None:
        return OverloadedError("serve.no_picture_worker")
    if returncode == -signal.SIGXCPU:
        return too_much_time(bounds)
    if returncode == -signal.SIGKILL:  # by the kernel: no memory was left
        return too_much_memory(bounds)
    return BadInputError("serve.picture_crashes")


def can_decode_films() -> bool:
    """Whether PyAV is installed."""
    return _packages_of("av") is not None


@lru_cache
def _packages_of(name: str) -> str | None:
    """The directory that holds a package."""
    found = importlib.util.find_spec(name)
    places = (found and found.submodule_search_locations) or ()
    return next((str(Path(place).parent) for place in places), None)
