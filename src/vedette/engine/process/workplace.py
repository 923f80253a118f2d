"""The working directory of an engine, by which vedette finds and ends all processes of that engine."""

import contextlib
import os
import shutil
import time
from pathlib import Path

import psutil

from vedette.engine.process.process_command import SOCKET, TEMPORARY

_KILL_WAIT_S = 2.0
_POLL_S = 0.05


def make_workplace(workplace: Path) -> None:
    """Make a working directory, for this user only: who can enter it can use the engine (process_command.SOCKET)."""
    workplace.mkdir(mode=0o700, parents=True, exist_ok=True)
    workplace.chmod(0o700)
    (workplace / TEMPORARY).mkdir(mode=0o700, exist_ok=True)


def find_processes(workplace: Path) -> list[psutil.Process]:
    """This user's processes that run in a working directory or below it, but no shell of a person: it has a terminal.

    A mark in the environment would not do: vLLM's workers overwrite theirs with their title.
    """
    found, real, user = [], os.path.realpath(workplace), os.geteuid()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.uids().effective != user:
                continue
            directory = process.cwd()
            if (directory == real or directory.startswith(f"{real}/")) and process.terminal() is None:
                found.append(process)
    return found


def end_processes(workplace: Path, grace_s: float = 0.0) -> None:
    """Kill all processes in a working directory, and remove the shared memory and the sockets that they used.

    grace_s: time to end by themselves, as multiprocessing's trackers do once their parent has ended.
    """
    began = time.monotonic()
    # In a loop: a process may have started another. With a limit: one that is stuck in the kernel does not end.
    while (left := find_processes(workplace)) and time.monotonic() < began + grace_s + _KILL_WAIT_S:
        if time.monotonic() < began + grace_s:
            time.sleep(_POLL_S)
            continue
        shared = {path for process in left for path in _shared_memory(process)}
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1)
        for path in shared:
            path.unlink(missing_ok=True)
    shutil.rmtree(workplace / TEMPORARY, ignore_errors=True)
    (workplace / SOCKET).unlink(missing_ok=True)


def _shared_memory(process: psutil.Process) -> list[Path]:
    try:
        return [Path(area.path) for area in process.memory_maps() if area.path.startswith("/dev/shm/")]  # noqa: S108
    except (psutil.Error, OSError):
        return []
