"""The keys of clients: named, with a role, kept as hashes. `vedette keys` writes the file, and serving reads it.

A key is random and has 256 bits, so a plain SHA-256 of it is as good as a slow hash, and costs a microsecond.
"""

import hashlib
import hmac
import re
import secrets
import time
from pathlib import Path

import msgspec

from vedette.errors import BadInputError, ConfigError
from vedette.files import one_at_a_time, read_whole, write_whole
from vedette.serve.access.principal import Role

ROLES = {"look": Role.LOOK, "use": Role.USE, "admin": Role.ADMIN}
"""The roles that a key may have."""
OWNER_NAME = "owner"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILE = "keys.json"
_MOST_BYTES = 1 << 20
_PREFIX = "vedette-"


class Key(msgspec.Struct, frozen=True):
    """A client's key, without the key itself."""

    name: str
    role: str
    """One of `ROLES`."""
    digest: str
    """SHA-256 of the key, in hexadecimal."""
    created: float
    """Unix time in seconds."""


class KeyFile:
    """The keys of one home. Reads its file again whenever that has changed, so a revoked key ends at once."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE
        self._keys: tuple[Key, ...] = ()
        self._version: tuple[int, ...] | None = None

    def listed(self) -> tuple[Key, ...]:
        """All keys, the oldest first. Raises ConfigError for a damaged file."""
        try:
            facts = self._path.stat()
        except OSError:
            self._keys, self._version = (), None
            return ()
        version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if version != self._version:
            self._keys, self._version = _read(self._path), version
        return self._keys

    def find(self, secret: str) -> Key | None:
        """The key that a client sent; None if it is not known. No timing tells how much of it was right."""
        digest = digest_of(secret)
        found = None
        for key in self.listed():
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def named(self, name: str) -> Key | None:
        """The key of this name."""
        return next((key for key in self.listed() if key.name == name), None)

    def add(self, name: str, role: str) -> str:
        """Make a key and return it: it is shown once, and not kept. Raises BadInputError, OSError."""
        if not _NAME.fullmatch(name) or name == OWNER_NAME:
            raise BadInputError("access.name_unusable", name=repr(name[:100]))
        with one_at_a_time(self._path.parent):  # else a key that another process revokes meanwhile would be back
            if self.named(name) is not None:
                raise BadInputError("access.name_taken", name=name)
            secret = _PREFIX + secrets.token_urlsafe(32)
            write_whole(
                self._path, msgspec.json.encode((*self.listed(), Key(name, role, digest_of(secret), time.time())))
            )
        return secret

    def revoke(self, name: str) -> None:
        """Remove a key. Raises BadInputError if there is none of this name, OSError."""
        with one_at_a_time(self._path.parent):
            names = tuple(key.name for key in self.listed())
            if name not in names:
                raise BadInputError("access.no_such_key", name=repr(name[:100]), names=names)
            write_whole(self._path, msgspec.json.encode(tuple(key for key in self.listed() if key.name != name)))


def digest_of(secret: str) -> str:
    """The hash that is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> tuple[Key, ...]:
    try:
        keys = msgspec.json.decode(read_whole(path, _MOST_BYTES, own=True), type=tuple[Key, ...])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError("access.keys_unreadable", path=str(path), error=str(error)) from error
    return tuple(key for key in keys if key.role in ROLES)
