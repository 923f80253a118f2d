"""Launches one engine process, reads its output, and stops it with all its child processes."""

import asyncio
import contextlib
import io
import logging
import logging.handlers
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from vedette.engine.process.oom_kills import KillWatch
from vedette.engine.process.process_command import Command
from vedette.engine.process.workplace import end_processes, make_workplace
from vedette.engine.vllm.causes import Death
from vedette.files import open_log
from vedette.language.foreign_text import plain
from vedette.outputs import lines_of
from vedette.units import MIB

LOG_BYTES = 16 * MIB
_TAIL_LINES = 200
_CLEANUP_S = 1.5
"""Time that the engine's child processes have to end before they are killed."""
_POLL_S = 0.25
_ERROR_RESPONSES_S = 1.0
"""Time for a server to send error responses to its clients after its engine core has crashed."""
_LAST_OUTPUT_S = 1.0
"""Limit for reading the rest of the output after the engine has ended: a child may keep the pipe open."""
_LONGEST_END = 1000
"""Characters at either end of a line that are kept to find a cause: a search in a longer one would take long."""
_LAUNCHER = Path(__file__).with_name("launcher.py")
_GRACE_S = 10
"""How long an engine may take to end by itself after vedette was killed."""


class _Log(logging.handlers.RotatingFileHandler):
    """The engine's log, which only its owner may read: requests may be in it."""

    def _open(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(open_log(Path(self.baseFilename)), self.encoding)


class EngineProcess:
    """A running engine process. `launch` starts it, `stop` stops it."""

    def __init__(self, process: asyncio.subprocess.Process, command: Command, log: logging.Handler) -> None:
        self.pid = process.pid
        self.last_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._process = process
        self._workplace = command.workplace
        self._log = log
        self._kills = KillWatch(command.count_kills)
        self._stop_requested = False

    @classmethod
    async def launch(
        cls,
        command: Command,
        log_path: Path,
        process: asyncio.subprocess.Process | None = None,
        log_bytes: int = LOG_BYTES,
    ) -> "EngineProcess":
        """Start the engine in its own session. Call `listen` at once: nothing else reads the engine's output.

        process: the engine's process, if it already runs (standby.py). log_bytes: of the log and its older half.
        """
        process = process or await spawn(command)
        log = _Log(log_path, maxBytes=log_bytes // 2, backupCount=1, encoding="utf-8")
        return cls(process, command, log)

    async def listen(self, on_line: Callable[[str], None]) -> Death:
        """Read the output until the engine ends; return how the engine ended. on_line: called with each line."""
        reading = asyncio.create_task(self._read(on_line))
        try:
            # Poll the exit status. A child may live longer and keep the output pipe open; before Python 3.12.5
            # `wait()` also waits until that pipe is closed.
            while True:
                code = self._process.returncode
                if code is not None:
                    break
                self._kills.poll()
                await asyncio.sleep(_POLL_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reading, _LAST_OUTPUT_S)
            if self._stop_requested and code == -signal.SIGKILL:  # sent by `stop` after its grace period
                code = -signal.SIGTERM
            return Death(code, tuple(self.last_lines), self._kills.recent())
        finally:
            reading.cancel()
            self._log.close()

    def stop_server(self) -> None:
        """Terminate a server whose engine core has crashed; kill it soon after, as it may wait for the core forever."""
        self._terminate()
        asyncio.get_running_loop().call_later(_ERROR_RESPONSES_S, self._kill)

    async def stop(self, grace_s: float) -> None:
        """Terminate the engine, kill it after `grace_s` seconds; return when all its processes have ended."""
        self._terminate()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace_s)
        self._kill()  # before the cleanup time of its children begins
        await asyncio.to_thread(end_processes, self._workplace, _CLEANUP_S)
        await self._process.wait()

    def _terminate(self) -> None:
        self._stop_requested = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _read(self, on_line: Callable[[str], None]) -> None:
        async for line in lines_of(self._process.stdout):
            self.last_lines.append(_shortened(line))
            self._log.emit(logging.LogRecord("engine", logging.INFO, "", 0, "%s", (plain(line),), None))
            on_line(line)


def _shortened(line: str) -> str:
    return line if len(line) <= 2 * _LONGEST_END else f"{line[:_LONGEST_END]} … {line[-_LONGEST_END:]}"


async def spawn(command: Command, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
    """Start a process in its own session. Its output goes to a pipe, and it ends when vedette ends."""
    make_workplace(command.workplace)
    lifeline = _lifeline()
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(lifeline), str(_GRACE_S)),
        *command.arguments,
        env=dict(command.environment),
        cwd=command.workplace,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(lifeline,),
    )


@lru_cache
def _lifeline() -> int:
    """Return the reading end of a pipe whose writing end closes when this process ends, and not before."""
    reading, _ = os.pipe()
    return reading
