"""The owner's key: a random text in a file that only the account that runs vedette can read."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from vedette.files import write_whole

_NAME = "owner.key"
_MOST_BYTES = 256
_LEAST_CHARACTERS = 32


def read_owner_key(directory: Path) -> str | None:
    """The key in a home's directory of access; None if there is none that this account alone can read."""
    try:
        descriptor = os.open(directory / _NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            return None
        key = file.read(_MOST_BYTES).decode("ascii", "replace").strip()
    return key if len(key) >= _LEAST_CHARACTERS else None


def make_owner_key(directory: Path) -> str:
    """The key, made where there is none that only this account could read. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    key = read_owner_key(directory)
    if key is None:
        key = secrets.token_urlsafe(32)
        write_whole(directory / _NAME, f"{key}\n")
    return key


def owner_link(directory: Path) -> Callable[[str], str]:
    """Adds the key to the page's address. The part after # stays in the browser: no log of a server or proxy has it."""

    def link(page_url: str) -> str:
        key = read_owner_key(directory)
        return page_url if key is None else f"{page_url}#key={key}"

    return link
