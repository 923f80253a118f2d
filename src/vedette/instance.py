"""The one vedette that may serve from a home: its lock, where it listens, and what a dead one left behind."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from vedette.config import Home
from vedette.engine.process import end_processes
from vedette.errors import AlreadyRunningError, NotRunningError

STOP_WITHIN_S = 9.0
"""How long a vedette is given to stop before it is killed."""


@dataclass(frozen=True)
class Instance:
    """A running vedette."""

    pid: int
    url: str
    """Where it serves, without a trailing slash."""


def workplace(home: Home) -> Path:
    """Directory that this home's engine, and whatever prepares it, runs in."""
    return home.state / "engine"


@contextlib.contextmanager
def hold(home: Home, url: str) -> Iterator[None]:
    """Holds the home's lock while serving on `url`; what a dead vedette left is cleaned away first, its own after.

    Raises AlreadyRunningError.
    """
    path = _lock_path(home)
    descriptor = _lock(path)
    if descriptor is None:
        running = find(home)
        where = f" on {running.url} (process {running.pid})" if running else ""
        raise AlreadyRunningError(
            f"vedette already runs{where}.",
            "Use it, stop it with `vedette down`, or set VEDETTE_HOME for a second one.",
        )
    try:
        clean(home)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(Instance(os.getpid(), url))).encode(), 0)
        yield
    finally:
        clean(home)
        path.unlink(missing_ok=True)
        os.close(descriptor)


def clean(home: Home) -> None:
    """Ends engine processes of this home that nobody leads any more, and removes their temporary files."""
    end_processes(workplace(home))
    shutil.rmtree(workplace(home), ignore_errors=True)


def find(home: Home) -> Instance | None:
    """The vedette that runs from this home, if one does: only a live one holds the lock."""
    path = _lock_path(home)
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Instance(**json.loads(file.read()))
    except (OSError, ValueError, TypeError):
        pass
    return None


def stop(home: Home) -> Instance:
    """Stops the running vedette and its engine, by force if it does not listen; returns what was stopped.

    Raises NotRunningError; whatever a dead one left is cleaned even then.
    """
    running = find(home)
    if running is None:
        clean(home)
        _lock_path(home).unlink(missing_ok=True)
        raise NotRunningError("vedette is not running.", "Start it with `vedette up`.")
    process = psutil.Process(running.pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_WITHIN_S
        while find(home) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if find(home) is not None:
            process.kill()
            process.wait(2)
            clean(home)
            _lock_path(home).unlink(missing_ok=True)
    return running


def _lock_path(home: Home) -> Path:
    return home.state / "instance.json"


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None when another process does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)  # its holder removed it between opening and locking
