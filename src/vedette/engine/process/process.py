"""One engine process and everything it starts: launched, listened to, and surely ended."""

import asyncio
import contextlib
import logging
import logging.handlers
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.engine.process.oom_kills import KillWatch, read_out_of_memory_kills
from vedette.engine.process.workplace import end_processes, make_workplace
from vedette.engine.vllm.causes import Death
from vedette.units import MIB

_LOG_BYTES = 8 * MIB
_TAIL_LINES = 200
_TIDYING_S = 1.5
_POLL_S = 0.25
_FAREWELL_S = 1.0
"""How long a server may take to tell its callers that its core has died."""
_LAST_WORDS_S = 1.0
"""How long a dead engine's output is still read while something it started holds it open."""
_LINE_END = re.compile(rb"[\r\n]+")  # progress bars end their lines with a carriage return
_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class Preload:
    """What a Python can do before it knows what it is to run (preloader.py)."""

    modules: tuple[str, ...]
    """To be imported."""
    forks: bool
    """Whether the first process that the program would spawn is to be a fork of it."""


@dataclass(frozen=True)
class Command:
    """What to run: `arguments[0]` is the program's absolute path."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    workplace: Path
    """Directory that it and all it starts run in, made when missing: that is how they are found again."""
    count_kills: Callable[[], int | None] = read_out_of_memory_kills
    """Counts the kernel's kills for lack of memory wherever its processes run."""
    preload: Preload | None = None
    """None where the program is no script or module of a Python of this machine, or nothing is known of it."""


class EngineProcess:
    """A running engine. Made by `launch`, ended by `stop`."""

    def __init__(self, process: asyncio.subprocess.Process, command: Command, log: logging.Handler) -> None:
        self.pid = process.pid
        self.last_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._process = process
        self._workplace = command.workplace
        self._log = log
        self._kills = KillWatch(command.count_kills)
        self._asked = False

    @classmethod
    async def launch(
        cls, command: Command, log_path: Path, process: asyncio.subprocess.Process | None = None
    ) -> "EngineProcess":
        """Starts the engine in a session of its own. Call `listen` soon: nobody else reads its output.

        process: the engine, where it has been started (standby.py).
        """
        process = process or await spawn(command)
        log = logging.handlers.RotatingFileHandler(log_path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
        return cls(process, command, log)

    async def listen(self, on_line: Callable[[str], None]) -> Death:
        """Reads the engine's output until it ends, and says how it ended."""
        reading = asyncio.create_task(self._read(on_line))
        try:
            # Its exit alone tells, not the end of its output: what it started may outlive it with the pipe open,
            # and `wait()` itself waits for the pipe (asyncio before 3.12.5).
            while True:
                code = self._process.returncode
                if code is not None:
                    break
                self._kills.poll()
                await asyncio.sleep(_POLL_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reading, _LAST_WORDS_S)
            if self._asked and code == -signal.SIGKILL:  # which was ours
                code = -signal.SIGTERM
            return Death(code, tuple(self.last_lines), self._kills.recent())
        finally:
            reading.cancel()
            self._log.close()

    def end_remains(self) -> None:
        """Ends a server whose core has died, soon: it may wait for ever for answers that nobody gives any more."""
        self._ask_to_end()
        asyncio.get_running_loop().call_later(_FAREWELL_S, self._make_end)

    async def stop(self, grace_s: float) -> None:
        """Asks the engine to end, and after `grace_s` seconds makes it; returns when nothing of it is left."""
        self._ask_to_end()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace_s)
        self._make_end()  # before what it has started gets its time to tidy up
        await asyncio.to_thread(end_processes, self._workplace, _TIDYING_S)
        await self._process.wait()

    def _ask_to_end(self) -> None:
        self._asked = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def _make_end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _read(self, on_line: Callable[[str], None]) -> None:
        async for line in self._lines():
            self.last_lines.append(line)
            self._log.emit(logging.LogRecord("engine", logging.INFO, "", 0, "%s", (line,), None))
            on_line(line)

    async def _lines(self) -> AsyncIterator[str]:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - launched with a pipe
        rest = b""
        while chunk := await stream.read(65_536):
            *whole, rest = _LINE_END.split(rest + chunk)
            rest = rest[-65_536:]  # an engine that never ends its line must not fill the memory
            for line in whole:
                if line.strip():
                    yield line.decode(errors="replace")
        if rest.strip():
            yield rest.decode(errors="replace")


async def spawn(command: Command, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
    """A process in a session of its own that ends with vedette; its output comes through a pipe."""
    make_workplace(command.workplace)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())),
        *command.arguments,
        env=dict(command.environment),
        cwd=command.workplace,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
