"""The one vedette that may serve from a home: its lock, its address, and what a dead one left behind."""

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

import msgspec
import psutil

from vedette.engine.hosts.container_record import end_container
from vedette.engine.process.workplace import end_processes
from vedette.errors import AlreadyRunningError, NotRunningError
from vedette.files import list_directory, read_whole, write_whole
from vedette.settings.home import Home

STOP_WITHIN_S = 8.0
"""How long a vedette is given to stop before it is killed."""

_MOST_RECORD_BYTES = 16_384
_MOST_PLACES = 1000
"""Working directories of engines: one for each model."""
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
    with contextlib.suppress(OSError):
        for place in list_directory(home.workplace, _MOST_PLACES):
            end_container(place)
    end_processes(home.workplace)
    shutil.rmtree(home.workplace, ignore_errors=True)


def find(home: Home) -> Instance | None:
    """The vedette that runs from this home, or None. Takes no lock, which a starting vedette might need."""
    try:
        instance = msgspec.json.decode(read_whole(_record(home), _MOST_RECORD_BYTES, own=True), type=Instance)
        alive = psutil.Process(instance.pid).create_time() == instance.began
        return instance if alive and _has_open(instance.pid, _lock_path(home)) else None
    except (OSError, ValueError, RecursionError, psutil.Error):
        return None


def _has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open. Only the vedette of a home has its lock open, whatever its record says."""
    wanted = path.stat()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(descriptor.stat(), wanted):
                return True
    return False


def stop(home: Home) -> Instance:
    """Stops the running vedette and its engine, by force after STOP_WITHIN_S, and returns what was stopped.

    Raises NotRunningError; what a dead vedette left is removed even then.
    """
    running = find(home)
    if running is not None:
        _end(home, running)
    lock = _lock(home)
    if lock is not None:  # else another vedette has started meanwhile, and has cleaned up
        _release(home, lock)
    if running is None:
        raise NotRunningError("instance.not_running")
    return running


def _end(home: Home, running: Instance) -> None:
    """Stop the process of a vedette, by force after STOP_WITHIN_S, and no process that gets its number later."""
    with contextlib.suppress(psutil.Error), _gripped(running.pid) as grip:
        process = psutil.Process(running.pid)
        if find(home) != running:
            return
        _send(grip, process, signal.SIGTERM)
        _send(grip, process, signal.SIGCONT)  # a process that Ctrl-Z suspended handles no other signal
        _, alive = psutil.wait_procs([process], timeout=STOP_WITHIN_S)
        if alive:
            _send(grip, process, signal.SIGKILL)
            psutil.wait_procs(alive, timeout=_LOCK_WITHIN_S)


@contextlib.contextmanager
def _gripped(pid: int) -> Iterator[int | None]:
    """A descriptor of the process, which never stands for another one; None where the kernel has none, or it ended."""
    try:
        grip = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield grip
    finally:
        os.close(grip)


def _send(grip: int | None, process: psutil.Process, number: signal.Signals) -> None:
    if grip is None:
        process.send_signal(number)  # compares the start time first
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(grip, number)


def _record(home: Home) -> Path:
    return home.state / "instance.json"


def _lock_path(home: Home) -> Path:
    return home.state / "lock"


def _lock(home: Home) -> int | None:
    """A descriptor that holds the home's lock; None if another process keeps it for _LOCK_WITHIN_S."""
    path = _lock_path(home)
    deadline = time.monotonic() + _LOCK_WITHIN_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
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
    _lock_path(home).unlink(missing_ok=True)
    os.close(lock)
