"""The one process that decodes pictures: started when it is needed, bounded by the kernel, ended when it is idle."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from vedette.errors import BadInputError, OverloadedError, TooLargeError, VedetteError
from vedette.units import MIB

WORKER_BYTES = 192 * MIB
"""The most address space of the worker, and so the most memory that decoding can take. It has 18 MiB when idle."""
CPU_S = 8
"""Processor time for one order: a photo of 48 megapixels takes 0.3 s, ten times that on a small board."""
_WALL_S = 30.0
_IDLE_S = 30.0
MOST_WAITING = 32
"""Orders that wait for the worker. Further ones are refused: each holds its data in memory."""
_PIECE_BYTES = 65_536
_MOST_ANSWER_BYTES = 64 * MIB
_WORKER = Path(__file__).with_name("picture_worker.py")
_MEMORY_RETURNED = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Return every large block to the system at once: after a large picture the worker is as small as before."""


class Order(msgspec.Struct, frozen=True):
    """What to do with a file; `bytes` of it follow."""

    do: Literal["picture", "clip"]
    bytes: int
    max_pixels: int
    max_frames: int
    max_ratio: int


class _Answer(msgspec.Struct, frozen=True):
    """The lengths of the parts that follow, or why there are none."""

    parts: tuple[int, ...] = ()
    refused: str | None = None
    width: int = 0
    height: int = 0
    needed_bytes: int = 0
    limit_bytes: int = 0
    mode: str = ""
    frames: int = 0
    most_pixels: int = 0
    most: int = 0
    error: str = ""


@dataclass(frozen=True)
class _Running:
    process: asyncio.subprocess.Process
    source: asyncio.StreamReader
    sink: asyncio.StreamWriter


class WorkerProcess:
    """Runs orders one after another. `close` it."""

    def __init__(self, idle_s: float = _IDLE_S, cpu_s: int = CPU_S) -> None:
        self._idle_s = idle_s
        self._cpu_s = cpu_s
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._running: _Running | None = None
        self._end: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._running.process.pid if self._running else None

    async def run(self, order: Order, data: bytes) -> tuple[bytes, ...]:
        """The parts that the worker makes of a file.

        Raises BadInputError for a file that it cannot use, TooLargeError for one beyond its bounds, and
        OverloadedError if too many wait.
        """
        if self._waiting >= MOST_WAITING:
            raise OverloadedError("serve.pictures_busy", waiting=self._waiting)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._run(order, data)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._kill()

    async def _run(self, order: Order, data: bytes) -> tuple[bytes, ...]:
        self._keep()
        try:
            answer, parts = await asyncio.wait_for(self._exchange(order, data), _WALL_S)
        except asyncio.TimeoutError:
            await self._kill()
            raise self._too_long() from None
        except (OSError, EOFError, ValueError, msgspec.DecodeError):
            raise self._ended(await self._kill()) from None
        except BaseException:
            await self._kill()  # it is in the midst of an order that nobody waits for
            raise
        if answer.refused == "memory":  # what could not be allocated may be missing later
            await self._kill()
        self._end = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)
        if answer.refused is not None:
            raise _error(answer, order)
        return parts

    async def _exchange(self, order: Order, data: bytes) -> tuple[_Answer, tuple[bytes, ...]]:
        running = self._running
        if running is None or running.process.returncode is not None:  # something else may have ended it
            running = await self._start()
        running.sink.write(msgspec.json.encode(order) + b"\n")
        with memoryview(data) as whole:
            for at in range(0, len(data), _PIECE_BYTES):  # in pieces: the writer copies what the pipe does not take
                running.sink.write(whole[at : at + _PIECE_BYTES])
                await running.sink.drain()
        answer = msgspec.json.decode(await running.source.readuntil(), type=_Answer)
        if sum(answer.parts) > _MOST_ANSWER_BYTES or min(answer.parts, default=0) < 0:
            raise ValueError(answer.parts)
        return answer, tuple([await running.source.readexactly(length) for length in answer.parts])

    async def _start(self) -> _Running:
        pillow = importlib.util.find_spec("PIL")
        assert pillow is not None  # noqa: S101 - a dependency
        assert pillow.submodule_search_locations  # noqa: S101
        packages = Path(pillow.submodule_search_locations[0]).parent
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_WORKER), str(packages), str(WORKER_BYTES), str(self._cpu_s)),
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ} | _MEMORY_RETURNED,
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - both are pipes
        assert process.stdin is not None  # noqa: S101
        self._running = _Running(process, process.stdout, process.stdin)
        return self._running

    def _keep(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _end_idle(self) -> None:
        self._end = None
        if self._running is not None and not self._waiting:
            self._running.sink.close()  # at the end of its input it ends
            self._running = None

    async def _kill(self) -> int | None:
        """Kill the process, if there is one; return how it ended, as `returncode`."""
        self._keep()
        running, self._running = self._running, None
        if running is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            running.process.kill()
        running.sink.close()
        return await running.process.wait()

    def _ended(self, returncode: int | None) -> VedetteError:
        """Why the worker ended in the midst of an order."""
        if returncode == -signal.SIGXCPU:
            return self._too_long()
        if returncode == -signal.SIGKILL:  # by the kernel: no memory was left
            return TooLargeError("serve.picture_takes_memory", limit_bytes=WORKER_BYTES)
        return BadInputError("serve.picture_crashes")

    def _too_long(self) -> TooLargeError:
        return TooLargeError("serve.picture_takes_long", limit_s=self._cpu_s)


def _error(answer: _Answer, order: Order) -> VedetteError:
    """The error that a refusal amounts to."""
    if answer.refused == "too_large":
        return TooLargeError(
            "serve.picture_too_large",
            width=answer.width,
            height=answer.height,
            needed_mib=-(-answer.needed_bytes // MIB),
            limit_mib=answer.limit_bytes // MIB,
        )
    if answer.refused == "memory":
        return TooLargeError("serve.picture_takes_memory", limit_bytes=WORKER_BYTES)
    if answer.refused == "thin":
        return too_thin(answer.width, answer.height, order.max_ratio)
    if answer.refused == "long":
        return TooLargeError(
            "serve.clip_too_long",
            frames=answer.frames,
            width=answer.width,
            height=answer.height,
            most_pixels=answer.most_pixels,
        )
    if answer.refused == "scans":
        return TooLargeError("serve.picture_has_many_scans", most=answer.most)
    if answer.refused == "depth":
        return BadInputError("serve.picture_too_deep")
    return BadInputError("serve.picture_damaged", error=answer.error)


def too_thin(width: int, height: int, max_ratio: int) -> BadInputError:
    """The error of a picture that is much longer than wide, or the reverse."""
    return BadInputError("serve.picture_too_thin", width=width, height=height, max_ratio=max_ratio)
