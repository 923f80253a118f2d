"""Reading files that others may have put there, within bounds; writing a file whole or not at all.

Every file that vedette reads by a path goes through here (tests/unit/test_files.py checks it). A path may lead to a
FIFO that never answers, to /dev/zero that never ends, or to a device that acts on being opened: none of them is opened.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LOOK = os.O_PATH | os.O_CLOEXEC
"""Finds what a path leads to without opening it: a device is not touched, a FIFO not waited for."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
FOR_OTHERS_TO_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotRegularError(OSError):
    """A path leads to a directory, a device, a FIFO or a socket, or it is a link where none may be."""


class TooLargeFileError(OSError):
    """A file is larger than its reader allows, or has more content than its size says."""


def open_regular(path: Path, *, own: bool = False) -> BinaryIO:
    """A regular file, open to read. Raises NotRegularError for anything else, and OSError.

    own: it is no link, it belongs to its directory's owner, and nobody else may write to it: a file of vedette's.
    """
    found = os.open(path, _LOOK | (os.O_NOFOLLOW if own else 0))
    try:
        facts = os.fstat(found)
        if not stat.S_ISREG(facts.st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file", str(path))
        if own and (facts.st_uid != path.parent.stat().st_uid or facts.st_mode & FOR_OTHERS_TO_WRITE):
            raise PermissionError(errno.EPERM, "others may have written it", str(path))
        try:
            return os.fdopen(os.open(f"/proc/self/fd/{found}", _READ), "rb")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(found)


def read_whole(path: Path, most_bytes: int, *, own: bool = False) -> bytes:
    """The content of a regular file. Raises TooLargeFileError above `most_bytes`, NotRegularError, and OSError.

    own: as in `open_regular`. A file with more content than its size says is refused: it grows, or it is one of /proc,
    whose sizes are wrong.
    """
    with open_regular(path, own=own) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= most_bytes else b""
    if size > most_bytes or len(data) > size:
        raise TooLargeFileError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def list_directory(directory: Path, most: int) -> list[Path]:
    """The entries of a directory, sorted. Raises TooLargeFileError if there are more than `most`, and OSError."""
    with os.scandir(directory) as entries:
        found = [entry.name for entry in itertools.islice(entries, most + 1)]
    if len(found) > most:
        raise TooLargeFileError(errno.EFBIG, os.strerror(errno.EFBIG), str(directory))
    return [directory / name for name in sorted(found)]


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Writes a file so that a reader sees the old content or the new one, never a part; makes its directory.

    A crash, a kill or a full disk in between leaves the old file as it was. Raises OSError.
    """
    with writing_whole(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing_whole(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """As `write_whole`, for content that comes in parts: it is in place at the end of the block, if that succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            os.fchmod(file.fileno(), mode)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Entered by one process at a time, to read a file of a directory and write it again; makes the directory.

    Raises OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def open_log(path: Path, *, emptied: bool = False) -> BinaryIO:
    """A log, open to append: for its owner only whatever the umask, never through a link. Raises OSError.

    emptied: what an earlier run wrote is removed.
    """
    descriptor = os.open(path, _APPEND, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file", str(path))
        os.fchmod(descriptor, 0o600)
        if emptied:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "ab")
