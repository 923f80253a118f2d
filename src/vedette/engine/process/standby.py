"""Engines that import their modules before they know the model: a standby for a crash, and faster starts.

Imports take most of a start: 14 of 21 s on two cores without a GPU, half of that in the engine's core, which imports
everything again (bench/product/startup). A standby has imported everything when an engine crashes. A core that is
forked imports nothing, and shares its libraries' memory with the server.
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
from vedette.engine.process.process import spawn
from vedette.engine.process.process_command import Command, Preload
from vedette.engine.process.workplace import end_processes, make_workplace
from vedette.tasks import cancel

_PRELOADER = Path(__file__).with_name("preloader.py")
_POLL_S = 0.25
_CONFIRM_S = 5.0
"""Limit for a standby to confirm its order: its memory may have to be read back from swap."""


class Standby:
    """A process that imports the modules of an engine's program, and can then become it. `prepare` makes it.

    It takes no port and no GPU memory, and nothing depends on it: if it ends, the next engine is a new process. Its
    working directory is beside the engine's, so that `end_processes` of an engine spares it.
    """

    def __init__(
        self, command: Command, place: Path, process: asyncio.subprocess.Process, channel: socket.socket
    ) -> None:
        self.pid = process.pid
        self.is_ready = False
        """Whether all modules are imported."""
        self._command = command
        self._place = place
        self._process = process
        self._channel = channel
        self._ready_task = asyncio.create_task(self._wait_for_imports())
        self._kill_task = asyncio.create_task(self._ignore_kill())

    @classmethod
    async def prepare(cls, command: Command) -> "Standby | None":
        """Start a standby for all commands with this one's interpreter, environment and working directory.

        Returns at once; the imports continue at a low priority. None if the command's imports are unknown.
        """
        if command.preload is None:
            return None
        place = command.workplace.with_name(f"{command.workplace.name}-standby")
        process, channel = await _spawn(dataclasses.replace(command, workplace=place), command.preload, "wait")
        return cls(command, place, process, channel)

    async def wait_until_ready(self) -> bool:
        """Return when all modules are imported; False if the standby ended before."""
        await asyncio.wait({self._ready_task})
        return self.is_ready

    async def wait_until_ended(self) -> None:
        """Return when the process has ended, however it did."""
        await asyncio.wait({self._kill_task})

    def memory_bytes(self) -> int:
        """Memory that only the standby holds, which a takeover passes to the engine; 0 if the standby has ended."""
        try:
            memory = psutil.Process(self.pid).memory_info()
        except psutil.Error:
            return 0
        private: int = memory.rss - memory.shared
        return private

    async def take_over(self, command: Command) -> asyncio.subprocess.Process | None:
        """Make the standby the engine of `command`, and return its process, with the output so far.

        None if the standby is not ready, or for another interpreter, environment or working directory; it then ends.
        """
        fits = self.is_ready and self._process.returncode is None and _differ_only_in_arguments(command, self._command)
        self.is_ready = False  # only one order: it may arrive even if this call is cancelled
        if fits:
            await _send_order(self._channel, command)
        if not (fits and await self._confirms()):
            await self.stop()
            return None
        await self._detach()
        return self._process

    async def stop(self) -> None:
        """End the standby and all that it has forked."""
        await self._detach()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await asyncio.to_thread(end_processes, self._place)

    async def _confirms(self) -> bool:
        """Whether the standby has received the order: a standby that is being killed has not."""
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            return bool(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._channel, 1), _CONFIRM_S))
        return False

    async def _detach(self) -> None:
        await cancel(self._ready_task, self._kill_task)
        self._channel.close()

    async def _wait_for_imports(self) -> None:
        with contextlib.suppress(OSError):
            self.is_ready = bool(await asyncio.get_running_loop().sock_recv(self._channel, 1))

    async def _ignore_kill(self) -> None:
        """Wait until the standby ends; if the kernel killed it, leave that kill out of the engines' counts."""
        kills = KillWatch(self._command.count_kills)
        while self._process.returncode is None:
            kills.poll()
            await asyncio.sleep(_POLL_S)
        if self._process.returncode == -signal.SIGKILL and kills.recent():
            KillWatch.ignore_one()


async def start(command: Command, standby: Standby | None = None) -> asyncio.subprocess.Process:
    """The engine's process: the standby if it is ready and fits the command, else a new process."""
    taken_over = await standby.take_over(command) if standby else None
    if taken_over is not None:
        return taken_over
    if command.preload is None:
        return await spawn(command)
    process, channel = await _spawn(command, command.preload, "go")
    with channel:
        await _send_order(channel, command)
    return process


async def _spawn(command: Command, preload: Preload, mode: str) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """Start preloader.py in the command's working directory; return it with the socket for its order."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    forks = "fork" if preload.forks else "spawn"
    arguments = (command.arguments[0], str(_PRELOADER), mode, forks, *preload.modules)
    with theirs:
        return await spawn(dataclasses.replace(command, arguments=arguments), theirs.fileno()), ours


async def _send_order(channel: socket.socket, command: Command) -> None:
    """Send a process the command that it is to become; a process that has ended does not confirm it."""
    make_workplace(command.workplace)
    order = {"arguments": command.arguments[1:], "workplace": str(command.workplace)}
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(channel, json.dumps(order).encode() + b"\n")


def _differ_only_in_arguments(one: Command, other: Command) -> bool:
    """Whether two commands have the same interpreter, environment and directory: imports read the environment."""
    return dataclasses.replace(one, arguments=other.arguments) == other and one.arguments[0] == other.arguments[0]
