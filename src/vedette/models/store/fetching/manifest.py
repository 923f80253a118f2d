"""The list of files that lies beside a downloaded model: what came, from where, and the hash of each file."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from vedette.files import open_regular, read_whole

MANIFEST = "vedette-manifest.json"
MAX_MANIFEST_BYTES = 4_000_000
_BLOCK_BYTES = 1 << 20


class ManifestFile(msgspec.Struct, frozen=True):
    """One file as it arrived."""

    name: str
    size_bytes: int
    sha256: str
    from_source: bool
    """The source gave the hash; else it is that of the file as it arrived."""


class Manifest(msgspec.Struct, frozen=True):
    """What a download brought. `origin` is what a person types for it."""

    origin: str
    revision: str
    files: tuple[ManifestFile, ...]


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest in a model's directory; None without one, or if it cannot be read."""
    try:
        return msgspec.json.decode(read_whole(directory / MANIFEST, MAX_MANIFEST_BYTES), type=Manifest)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def sha256_of(path: Path, read: Callable[[int], None] | None = None) -> str:
    """The hash of a regular file, in hexadecimal digits. read: called with the bytes of each block. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            if read is not None:
                read(len(block))
    return digest.hexdigest()
