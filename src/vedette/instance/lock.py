"""The one vedette that may serve from a home: its lock, where it listens, and what a dead one left behind."""

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
from vedette.settings.home import Home

STOP_WITHIN_S = 8.0
"""How long a vedette is given to stop before it is killed."""

_PATIENCE_S = 1.0
"""How long a lock is tried for: whoever holds it may be just about to say who it is, or to let go."""


@dataclass(frozen=True)
class Instance:
    """A running vedette."""

    pid: int
    began: float
    """When that process was created, as the kernel has it: another one may get its number later."""
    url: str
    """Where it serves, without a trailing slash."""


@contextlib.contextmanager
def hold(home: Home, url: str) -> Iterator[None]:
    """Holds the home's lock while serving on `url`; what a dead vedette left is cleaned away first, its own after.

    Raises AlreadyRunningError.
    """
    lock = _lock(home)
    if lock is None:
        refuse_second(home)
        raise AlreadyRunningError("Another vedette is just starting or stopping.", "Try again in a few seconds.")
    own = Instance(os.getpid(), psutil.Process().create_time(), url)
    try:
        _write(_record(home), json.dumps(asdict(own)))
        clean(home)
        yield
    finally:
        _release(home, lock)


def refuse_second(home: Home) -> None:
    """Raises AlreadyRunningError if a vedette runs from this home."""
    running = find(home)
    if running is not None:
        raise AlreadyRunningError(
            f"vedette already runs on {running.url} (process {running.pid}).",
            "Use it, stop it with `vedette down`, or set VEDETTE_HOME for a second one.",
        )


def clean(home: Home) -> None:
    """Ends engine processes and containers of this home that nobody leads any more, and removes their files."""
    for place in home.workplace.glob("*/"):
        end_container(place)
    end_processes(home.workplace)
    shutil.rmtree(home.workplace, ignore_errors=True)


def find(home: Home) -> Instance | None:
    """The vedette that runs from this home, if one does. Only looks: takes no lock that another might miss."""
    try:
        instance = Instance(**json.loads(_record(home).read_text(encoding="utf-8")))
        alive = psutil.Process(instance.pid).create_time() == instance.began
    except (OSError, ValueError, TypeError, psutil.Error):
        return None
    return instance if alive else None


def stop(home: Home) -> Instance:
    """Stops the running vedette and its engine, by force if it does not listen; returns what was stopped.

    Raises NotRunningError; whatever a dead one left is cleaned even then.
    """
    running = find(home)
    if running is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(running.pid)
            process.terminate()
            process.resume()  # one that was stopped with Ctrl-Z hears nothing else
            _, alive = psutil.wait_procs([process], timeout=STOP_WITHIN_S)
            for left in alive:
                left.kill()
            psutil.wait_procs(alive, timeout=_PATIENCE_S)
    lock = _lock(home)
    if lock is not None:  # else another one has started meanwhile, which cleans by itself
        _release(home, lock)
    if running is None:
        raise NotRunningError("vedette is not running.", "Start it with `vedette up`.")
    return running


def _record(home: Home) -> Path:
    return home.state / "instance.json"


def _write(path: Path, text: str) -> None:
    """Writes a file that others see whole or not at all."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _lock(home: Home) -> int | None:
    """A descriptor that holds the home's lock, or None when another process keeps it."""
    path = home.state / "lock"
    deadline = time.monotonic() + _PATIENCE_S
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
    """Leaves nothing of this home's vedette: no process, no temporary file, no record, no lock."""
    clean(home)
    _record(home).unlink(missing_ok=True)
    (home.state / "lock").unlink(missing_ok=True)
    os.close(lock)
