"""One download of a model at a time, whichever vedette wants it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOCK = ".lock"
"""Suffix of the file beside a model's directory that a download of it holds locked."""

WAIT_S = 0.5


@contextlib.contextmanager
def transfer_lock(directory: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds the lock of a model's directory; the kernel frees it when the process ends, however it ends.

    waiting: called again and again while another process has it; None to raise BlockingIOError at once then. OSError.
    """
    path = directory.with_name(f".{directory.name}{LOCK}")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            _lock(lock, waiting)
            if _is_at(lock, path):
                yield
                return
        finally:
            os.close(lock)


def _lock(lock: int, waiting: Callable[[], None] | None) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise
            waiting()
            time.sleep(WAIT_S)
        else:
            return


def _is_at(lock: int, path: Path) -> bool:
    """Whether the locked file is still the one at `path`: the process that held it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False
