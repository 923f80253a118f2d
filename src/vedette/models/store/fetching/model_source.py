"""What a source of models is: it lists a model's files, sends a file from any byte on, and names its errors."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Protocol


class Trouble(Enum):
    """Why a source does not send what it was asked for, or why its files cannot be used."""

    NOT_FOUND = "not_found"
    TERMS = "terms"
    """The model's terms must be accepted first."""
    KEY_NEEDED = "key_needed"
    KEY_REFUSED = "key_refused"
    KEY_OPEN = "key_open"
    """Other users can read the file of the key."""
    BUSY = "busy"
    """A later attempt may succeed: status 408, 429 or 5xx."""
    UNREACHABLE = "unreachable"
    """Nothing answers, or the connection broke."""
    REFUSED = "refused"
    """Any other status."""
    UNTRUSTED = "untrusted"
    """The source sends the request to an address that it must not go to."""
    ODD_ANSWER = "odd_answer"
    """The answer is not that of such a source."""
    HOSTILE_NAME = "hostile_name"
    """A file's name leads out of the model's directory."""
    NO_MODEL = "no_model"
    """No config.json with weights in the safetensors format."""
    CORRUPT = "corrupt"
    """A file has arrived damaged twice."""
    UNUSABLE = "unusable"
    """The weights have arrived as the source has them, and are no whole safetensors files."""
    DISK_TOO_SMALL = "disk_too_small"
    DISK_FILLED_UP = "disk_filled_up"
    NOT_WRITTEN = "not_written"
    UNEXPECTED = "unexpected"


PASSING = frozenset({Trouble.BUSY, Trouble.UNREACHABLE})
"""What a later attempt may not meet again."""


class SourceError(Exception):
    """A source's trouble. detail: a status, a file's name or the kind of an error, never an address or a key."""

    def __init__(self, trouble: Trouble, detail: str = "", page: str = "", wait_s: float | None = None) -> None:
        """page: where a person can do something about it. wait_s: how long the source wants to be left alone."""
        super().__init__(f"{trouble.value} {detail}")
        self.trouble = trouble
        self.detail = detail
        self.page = page
        self.wait_s = wait_s


@dataclass(frozen=True)
class RemoteFile:
    """One file of a model as its source describes it."""

    name: str
    size_bytes: int | None
    sha256: str | None = None
    """In hexadecimal digits; None where the source does not say it."""
    git_blob: str | None = None
    """Git's hash of a small file on a Hugging Face hub."""
    version: str | None = None
    """What else tells this version of the file from others: an entity tag."""


@dataclass(frozen=True)
class Listing:
    """The files of one version of a model."""

    revision: str
    """The source's name of the version: a commit, a version, a branch."""
    files: tuple[RemoteFile, ...]


class ModelSource(Protocol):
    """One model at one source. Its methods raise SourceError and may be called by several threads."""

    def list_files(self) -> Listing: ...

    def stream(self, file: RemoteFile, begin: int, end: int | None = None) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of a file from `begin` on (and before `end`), as they arrive.

        They may end too early, and they may go on behind `end`.
        """
        ...


def flat(files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The files at the top of a model, without those of its subdirectories.

    Raises SourceError for a name that leads out of the directory: such a listing is an attack, or damaged.
    """
    found = {}
    for file in files:
        path = PurePosixPath(file.name)
        odd = "\\" in file.name or any(ord(letter) < 32 or ord(letter) == 127 for letter in file.name)
        if not file.name or path.is_absolute() or ".." in path.parts or odd or len(file.name) > 1023:
            raise SourceError(Trouble.HOSTILE_NAME, file.name[:80])
        if path.name == file.name:
            found[file.name] = file
    return tuple(found.values())
