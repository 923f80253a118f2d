"""What each key has used: a file that the running vedette writes, and `vedette keys usage` reads."""

import logging
import time
from pathlib import Path

import msgspec

from vedette.files import read_whole, write_whole

log = logging.getLogger(__name__)

_FILE = "usage.json"
_MOST_BYTES = 1 << 20
WITHOUT_KEY = ""
"""Stands for all requests without a key."""


class Usage(msgspec.Struct, omit_defaults=True):
    """The use of one key."""

    requests: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    """As far as the engine counts them; else at least as many as it sent pieces."""
    last_used: float = 0.0
    """Unix time in seconds."""


class UsageBook:
    """The use of all keys. directory: where the file is kept; None keeps it nowhere."""

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / _FILE
        self._used = {} if self._path is None else read_usage(self._path.parent)
        self._changed = False

    def note(
        self, key: str | None, requests: int = 0, refused: int = 0, prompt_tokens: int = 0, answer_tokens: int = 0
    ) -> None:
        """Add to the use of a key; None: of requests without one."""
        usage = self._used.setdefault(key or WITHOUT_KEY, Usage())
        usage.requests += requests
        usage.refused += refused
        usage.prompt_tokens += prompt_tokens
        usage.answer_tokens += answer_tokens
        usage.last_used = time.time()
        self._changed = True

    def save(self) -> None:
        """Write what has changed. A disk that is full loses counts, and stops nothing."""
        if not self._changed or self._path is None:
            return
        self._changed = False  # before: requests are counted while the file is written
        try:
            write_whole(self._path, msgspec.json.encode(self._used))
        except OSError as error:
            self._changed = True
            log.warning("The use of keys could not be written: %s", error)


def read_usage(directory: Path) -> dict[str, Usage]:
    """The use of each key by its name, as last written; {} if nothing was, or it cannot be read."""
    try:
        return msgspec.json.decode(read_whole(directory / _FILE, _MOST_BYTES, own=True), type=dict[str, Usage])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
