"""Engines that import before they know what they are to run: a standby that waits for a crash, and faster starts.

Imports are most of a start: 14 of 21 s on two cores without a GPU, half of them for the engine's core, which imports
everything anew (bench/product/startup). What has been imported beforehand need not be when an engine has died; and a
core that is forked need not import at all, nor hold the same libraries a second time.
"""

import asyncio
import contextlib
import dataclasses
import json
import signal
import socket
from pathlib import Path

import psutil

from vedette.engine.process.oom_kills import KillWatch
from vedette.engine.process.process import Command, Preload, spawn
from vedette.engine.process.workplace import end_processes, make_workplace

_MAIN = Path(__file__).with_name("preloader.py")
_POLL_S = 0.25
_ANSWER_S = 5.0
"""How long one that waits may take to hear what it is to be: its memory may have to come back from a disk."""


class Standby:
    """A process that imports what an engine's program needs and then waits to become it. Made by `prepare`.

    It takes no port and no memory of a GPU, and nobody depends on it: when it dies, the next engine is a new process.
    It runs beside the workplace of the engine, so that the end of an engine is not its end.
    """

    def __init__(self, command: Command, place: Path, process: asyncio.subprocess.Process, talk: socket.socket) -> None:
        self.pid = process.pid
        self.is_ready = False
        """Whether everything is imported."""
        self._command = command
        self._place = place
        self._process = process
        self._talk = talk
        self._importing = asyncio.create_task(self._hear())
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def prepare(cls, command: Command) -> "Standby | None":
        """Starts one for every command with the same interpreter, environment and workplace as this one.

        Returns at once; the imports go on, at a low priority. None where nothing can be imported beforehand.
        """
        if command.preload is None:
            return None
        beside = command.workplace.with_name(f"{command.workplace.name}-standby")
        return cls(
            command, beside, *await _spawn(dataclasses.replace(command, workplace=beside), command.preload, "wait")
        )

    async def wait_until_ready(self) -> bool:
        """Returns when everything is imported; False if it ended before."""
        await asyncio.wait({self._importing})
        return self.is_ready

    def memory_bytes(self) -> int:
        """Memory that it alone holds, and that an engine which it becomes holds already; 0 when it has ended."""
        try:
            memory = psutil.Process(self.pid).memory_info()
        except psutil.Error:
            return 0
        held: int = memory.rss - memory.shared
        return held

    async def take_over(self, command: Command) -> asyncio.subprocess.Process | None:
        """Makes it the engine of `command` and returns its process; its output so far is the beginning of the engine's.

        None when it is not ready or made for another interpreter, environment or workplace; it is then ended.
        """
        fits = self.is_ready and self._process.returncode is None and _differ_in_arguments_alone(command, self._command)
        self.is_ready = False  # asked once: an order that is broken off may be obeyed all the same
        if not (fits and await _order(self._talk, command) and await self._obeys()):
            await self.stop()
            return None
        await self._forget()
        return self._process

    async def stop(self) -> None:
        """Ends it."""
        await self._forget()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await asyncio.to_thread(end_processes, self._place)  # what it has forked ahead

    async def _obeys(self) -> bool:
        """Whether it has heard the order: one that is just being killed has not."""
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            return bool(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._talk, 1), _ANSWER_S))
        return False

    async def _forget(self) -> None:
        for task in (self._importing, self._watching):
            task.cancel()
        await asyncio.wait({self._importing, self._watching})
        self._talk.close()

    async def _hear(self) -> None:
        with contextlib.suppress(OSError):
            self.is_ready = bool(await asyncio.get_running_loop().sock_recv(self._talk, 1))

    async def _watch(self) -> None:
        """That the kernel has taken its memory tells nothing of an engine that runs beside it."""
        kills = KillWatch(self._command.count_kills)
        while self._process.returncode is None:
            kills.poll()
            await asyncio.sleep(_POLL_S)
        if self._process.returncode == -signal.SIGKILL and kills.recent():
            KillWatch.pardon()


async def start(command: Command, standby: Standby | None = None) -> asyncio.subprocess.Process:
    """The engine's process: the standby, if it is ready and made for such a command, else a new one."""
    taken_over = await standby.take_over(command) if standby else None
    if taken_over is not None:
        return taken_over
    if command.preload is None:
        return await spawn(command)
    process, talk = await _spawn(command, command.preload, "go")
    with talk:
        await _order(talk, command)
    return process


async def _spawn(command: Command, preload: Preload, mode: str) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """A process that imports, in the workplace of `command`, and the socket on which it is told the rest."""
    ours, its_end = socket.socketpair()
    ours.setblocking(False)
    forks = "fork" if preload.forks else "spawn"
    arguments = (command.arguments[0], str(_MAIN), mode, forks, *preload.modules)
    with its_end:
        return await spawn(dataclasses.replace(command, arguments=arguments), its_end.fileno()), ours


async def _order(talk: socket.socket, command: Command) -> bool:
    """Tells a process what to become; False if it has ended."""
    make_workplace(command.workplace)
    order = {"arguments": command.arguments[1:], "workplace": str(command.workplace)}
    try:
        await asyncio.get_running_loop().sock_sendall(talk, json.dumps(order).encode() + b"\n")
    except OSError:
        return False
    return True


def _differ_in_arguments_alone(one: Command, other: Command) -> bool:
    """Whether the same interpreter runs both in the same place: what it imports reads the environment."""
    return dataclasses.replace(one, arguments=other.arguments) == other and one.arguments[0] == other.arguments[0]
