"""The one vedette that may serve from a home: its lock, its address, and what a dead one left behind."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from vedette.engine.hosts.container_record import end_container
from vedette.engine.process.workplace import end_processes
from vedette.errors import AlreadyRunningError, NotRunningError
from vedette.files import write_whole
from vedette.settings.home import Home

STOP_WITHIN_S = 8.0
"""How long a vedette is given to stop before it is killed."""

_LOCK_WITHIN_S = 1.0
"""How long a lock is tried for: its holder may be about to write its record, or to let go."""


@dataclass(frozen=True)
class Instance:
    """A running vedette."""

    pid: int
    began: float
    """When the kernel says that the process was created: a later process may get the same number."""
    url: str
    """Where it serves, without a trailing slash."""


@contextlib.contextmanager
def hold(home: Home, url: str) -> Iterator[None]:
    """Holds the home's lock while serving on `url`; removes what a dead vedette left before, and its own after.

    Raises AlreadyRunningError.
    """
    lock = _lock(home)
    if lock is None:
        refuse_second(home)
        raise AlreadyRunningError("instance.changing")
    own = Instance(os.getpid(), psutil.Process().create_time(), url)
    try:
        write_whole(_record(home), json.dumps(asdict(own)))
        clean(home)
        yield
    finally:
        _release(home, lock)


def refuse_second(home: Home) -> None:
    """Raises AlreadyRunningError if a vedette runs from this home."""
    running = find(home)
    if running is not None:
        raise AlreadyRunningError("instance.already_running", url=running.url, pid=running.pid)


def clean(home: Home) -> None:
    """Ends the home's abandoned engine processes and containers, and removes their files."""
    for place in home.workplace.glob("*/"):
        end_container(place)
    end_processes(home.workplace)
    shutil.rmtree(home.workplace, ignore_errors=True)


def find(home: Home) -> Instance | None:
    """The vedette that runs from this home, or None. Takes no lock, which a starting vedette might need."""
    try:
        instance = Instance(**json.loads(_record(home).read_text(encoding="utf-8")))
        alive = psutil.Process(instance.pid).create_time() == instance.began
    except (OSError, ValueError, TypeError, psutil.Error):
        return None
    return instance if alive else None


def stop(home: Home) -> Instance:
    """Stops the running vedette and its engine, by force after STOP_WITHIN_S, and returns what was stopped.

    Raises NotRunningError; what a dead vedette left is removed even then.
    """
    running = find(home)
    if running is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(running.pid)
            process.terminate()
            process.resume()  # a process that Ctrl-Z suspended handles no other signal
            _, alive = psutil.wait_procs([process], timeout=STOP_WITHIN_S)
            for left in alive:
                left.kill()
            psutil.wait_procs(alive, timeout=_LOCK_WITHIN_S)
    lock = _lock(home)
    if lock is not None:  # else another vedette has started meanwhile, and has cleaned up
        _release(home, lock)
    if running is None:
        raise NotRunningError("instance.not_running")
    return running


def _record(home: Home) -> Path:
    return home.state / "instance.json"


def _lock(home: Home) -> int | None:
    """A descriptor that holds the home's lock; None if another process keeps it for _LOCK_WITHIN_S."""
    path = home.state / "lock"
    deadline = time.monotonic() + _LOCK_WITHIN_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor  # else its holder removed it between opening and locking
        os.close(descriptor)
        if find(home) is not None or time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def _release(home: Home, lock: int) -> None:
    """Removes all that is left of this home's vedette: processes, temporary files, its record, the lock."""
    clean(home)
    _record(home).unlink(missing_ok=True)
    (home.state / "lock").unlink(missing_ok=True)
    os.close(lock)
