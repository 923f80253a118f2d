"""Runs the child processes of a download and reads their output line by line."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence

from vedette.outputs import lines_of

STOP_TIMEOUT_S = 5.0
KEPT_LINES = 20
NEUTRAL_DIRECTORY = "/"
"""Where children run: do not import modules from the current directory, which may hold a `json.py`."""
_LAUNCHER = """
import ctypes, os, signal, sys
set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):  # the parent died before the kernel was asked
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts each child: the kernel stops the child when its parent dies, even by SIGKILL."""


class ChildFailedError(Exception):
    """The child ended with a status other than 0; `lines` are the last lines that it printed."""

    def __init__(self, status: int, lines: Sequence[str]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.lines = tuple(lines)


async def child_lines(
    command: Sequence[str], environment: Mapping[str, str] | None = None, errors: bool = False
) -> AsyncGenerator[str, None]:
    """The lines that a command prints.

    command: absolute paths, since the child runs in NEUTRAL_DIRECTORY. environment: None for this process's own.
    errors: standard error is read too. Close the iterator (or cancel its reader) to stop the child: with SIGTERM,
    and with SIGKILL after STOP_TIMEOUT_S. Raises ChildFailedError at the end if the child failed.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())),
        *command,
        cwd=NEUTRAL_DIRECTORY,
        env=None if environment is None else dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if errors else asyncio.subprocess.DEVNULL,
    )
    last: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        async for line in lines_of(process.stdout):
            last.append(line.rstrip())
            yield last[-1]
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except asyncio.TimeoutError:
                process.kill()
                await process.wait()
    if status:
        raise ChildFailedError(status, last)
