"""Child processes of a download: their lines are read as they come, and they end with whoever reads them."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence

STOP_TIMEOUT_S = 5.0
KEPT_LINES = 20
NEUTRAL_DIRECTORY = "/"
"""Where children run: `python -m` looks for modules in its directory first, and the user's may hold a `json.py`."""
_LAUNCHER = """
import ctypes, os, signal, sys
set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):  # the parent died before the kernel was asked
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs in front of each child and becomes it: the kernel ends the child when its parent dies, even of SIGKILL."""


class ChildFailedError(Exception):
    """The child ended with a status other than 0; `lines` are the last it printed."""

    def __init__(self, status: int, lines: Sequence[str]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.lines = tuple(lines)


async def child_lines(
    command: Sequence[str], environment: Mapping[str, str] | None = None, errors: bool = False
) -> AsyncGenerator[str, None]:
    """The lines of a command's standard output, with `errors` also those of its standard error.

    command: absolute paths, since it runs in NEUTRAL_DIRECTORY. environment: None for this process's own.
    Close the iterator (or cancel its reader) to end the child: politely first, by force after five seconds.
    Raises ChildFailedError at the end if it failed.
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
        assert process.stdout is not None  # noqa: S101 - it is piped
        async for data in process.stdout:
            line = data.decode(errors="replace").rstrip()
            last.append(line)
            yield line
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
