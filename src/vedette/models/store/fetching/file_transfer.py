"""Receives one file: resumes where it broke off, waits where the source is busy, and checks size and hash."""

import hashlib
import os
import random
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vedette.files import open_log, open_regular
from vedette.models.store.fetching.manifest import ManifestFile
from vedette.models.store.fetching.model_source import PASSING, ModelSource, RemoteFile, SourceError, Trouble
from vedette.models.store.fetching.transfer_report import TransferProgress
from vedette.models.store.fetching.web_access import CUT_SHORT

UNFINISHED = ".unfinished"
MOST_ATTEMPTS = 8
"""Attempts in a row without a byte; then the source's trouble is the download's."""
FIRST_WAIT_S = 0.2
MOST_WAIT_S = 300.0
"""A source that wants to be left alone for longer ends the download."""
SLOW_S = 60.0
SLOWEST_BYTES_PER_S = 1024
"""A connection that brings less than this over SLOW_S is as good as broken."""
_SLOW = "slow"
_BLOCK_BYTES = 1 << 20


class StoppedError(Exception):
    """Another file's trouble has ended the download."""


@dataclass(frozen=True)
class Patience:
    """How often and how long a download waits for its source. `stopped` ends every wait."""

    stopped: threading.Event

    def wait(self, error: SourceError, attempt: int) -> None:
        """Waits before the next attempt, the `attempt`-th without a byte. Raises `error` where there is none."""
        wished_s = error.wait_s or 0.0
        if error.trouble not in PASSING or attempt > MOST_ATTEMPTS or wished_s > MOST_WAIT_S:
            raise error
        backoff_s = FIRST_WAIT_S * 2 ** max(0, attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        if self.stopped.wait(max(wished_s, backoff_s)):
            raise StoppedError


@dataclass(frozen=True)
class FileTransfer:
    """Brings files of one model into the directory `partial`."""

    source: ModelSource
    partial: Path
    progress: TransferProgress
    patience: Patience

    def run(self, file: RemoteFile) -> ManifestFile:
        """Downloads a file; once more from its start if its hash is wrong.

        Raises SourceError, OSError, StoppedError.
        """
        target = unfinished(self.partial, file)
        self.progress.show(file.name)
        for from_start in (False, True):
            if from_start or size_of(target) > (file.size_bytes or 0):
                self.progress.here(-size_of(target))
                target.unlink(missing_ok=True)
            arrived = self._receive(target, file)
            if arrived.matches(file):
                target.rename(self.partial / file.name)
                return ManifestFile(file.name, arrived.size_bytes, arrived.sha256, file.sha256 is not None)
        self.progress.here(-size_of(target))
        target.unlink()
        raise SourceError(Trouble.CORRUPT, file.name)

    def _receive(self, target: Path, file: RemoteFile) -> "Arrived":
        arrived = Arrived(file)
        if size_of(target):
            arrived.add_file(target)
        attempt = 0
        with open_log(target) as data:
            while arrived.size_bytes < (file.size_bytes or 0):
                before = arrived.size_bytes
                try:
                    self._receive_more(data, file, arrived)
                    trouble = SourceError(Trouble.UNREACHABLE, CUT_SHORT)
                except SourceError as error:
                    trouble = error
                if arrived.size_bytes >= (file.size_bytes or 0):
                    break
                attempt = attempt + 1 if trouble.detail == _SLOW or arrived.size_bytes == before else 0
                self.patience.wait(trouble, attempt)
            os.fsync(data.fileno())
        return arrived

    def _receive_more(self, data: BinaryIO, file: RemoteFile, arrived: "Arrived") -> None:
        """Writes each piece at once, so that nothing of it comes a second time after a kill."""
        size_bytes, began_s, began_bytes = file.size_bytes or 0, time.monotonic(), arrived.size_bytes
        with self.source.stream(file, arrived.size_bytes) as chunks:
            for chunk in chunks:
                if self.patience.stopped.is_set():
                    raise StoppedError
                if arrived.size_bytes + len(chunk) > size_bytes:
                    raise SourceError(Trouble.CORRUPT, file.name)
                data.write(chunk)
                data.flush()
                arrived.add(chunk)
                self.progress.received(len(chunk), file.name)
                passed_s = time.monotonic() - began_s
                if passed_s > SLOW_S and arrived.size_bytes - began_bytes < SLOWEST_BYTES_PER_S * passed_s:
                    raise SourceError(Trouble.UNREACHABLE, _SLOW)


class Arrived:
    """The bytes of a file so far: their number and hashes."""

    def __init__(self, file: RemoteFile) -> None:
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % (file.size_bytes or 0), usedforsecurity=False)
        self._by_git = file.git_blob is not None

    def add(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self._sha256.update(data)
        if self._by_git:
            self._git.update(data)

    def add_file(self, path: Path) -> None:
        with open_regular(path) as part:
            while block := part.read(_BLOCK_BYTES):
                self.add(block)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def matches(self, file: RemoteFile) -> bool:
        """Whether these are the bytes that the source has."""
        if file.sha256 is not None:
            return self.sha256 == file.sha256 and self.size_bytes == file.size_bytes
        git = self._git.hexdigest() if self._by_git else None
        return git == file.git_blob and self.size_bytes == file.size_bytes


def unfinished(partial: Path, file: RemoteFile) -> Path:
    """The path of a file while it is downloaded; what tells its versions apart is in the name."""
    version = file.sha256 or file.git_blob or f"{file.size_bytes}-{file.version}"
    return partial / f"{file.name}.{hashlib.sha256(version.encode()).hexdigest()[:16]}{UNFINISHED}"


def size_of(path: Path) -> int:
    """The size of a regular file that is no link; 0 of anything else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def finished(partial: Path, file: RemoteFile, progress: TransferProgress) -> ManifestFile | None:
    """A file that an earlier download has brought whole, with the source's hash; None otherwise."""
    path = partial / file.name
    if not path.is_file() or path.is_symlink() or path.stat().st_size != file.size_bytes:
        return None
    arrived = Arrived(file)
    arrived.add_file(path)
    if not arrived.matches(file):
        return None
    progress.here(arrived.size_bytes)
    return ManifestFile(file.name, arrived.size_bytes, arrived.sha256, file.sha256 is not None)
