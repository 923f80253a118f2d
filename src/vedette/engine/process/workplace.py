"""The directory that an engine and all that it starts run in: so they are found and ended, whoever started them."""

import contextlib
import os
import shutil
import time
from pathlib import Path

import psutil

_KILL_WAIT_S = 2.0
TEMPORARY = "tmp"
"""Directory in a workplace for what an engine leaves there when it is killed (flags.temporary_environment)."""


def make_workplace(workplace: Path) -> None:
    (workplace / TEMPORARY).mkdir(mode=0o700, parents=True, exist_ok=True)


def find_processes(workplace: Path) -> list[psutil.Process]:
    """All processes that run in a workplace or below it, dead parents or not; a person's shell there has a terminal
    and is none.

    Their environment would not tell: vLLM's workers overwrite theirs with their title.
    """
    found, real = [], os.path.realpath(workplace)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            at = process.cwd()
            if (at == real or at.startswith(f"{real}/")) and process.terminal() is None:
                found.append(process)
    return found


def end_processes(workplace: Path, tidying_s: float = 0.0) -> None:
    """Ends whatever still runs in a workplace, with the shared memory that only it uses.

    tidying_s: how long they may still tidy up by themselves (multiprocessing's trackers do, once their parent is gone).
    """
    began = time.monotonic()
    # Again and again: one may have started another in the meantime. A process stuck in the kernel cannot be waited for.
    while (left := find_processes(workplace)) and time.monotonic() < began + tidying_s + _KILL_WAIT_S:
        if time.monotonic() < began + tidying_s:
            time.sleep(0.05)
            continue
        shared = {path for process in left for path in _shared_memory(process)}
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1)
        for path in shared:
            path.unlink(missing_ok=True)
    shutil.rmtree(workplace / TEMPORARY, ignore_errors=True)


def _shared_memory(process: psutil.Process) -> list[Path]:
    try:
        return [Path(area.path) for area in process.memory_maps() if area.path.startswith("/dev/shm/")]  # noqa: S108
    except (psutil.Error, OSError):
        return []
