"""Checks, removes and clears up the models on this machine's disk."""

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vedette.errors import BadInputError, ModelNotFoundError
from vedette.files import list_directory, open_regular
from vedette.models.model_files import MAX_ENTRIES
from vedette.models.store.fetching.manifest import Manifest, read_manifest, sha256_of
from vedette.models.store.fetching.origin import PARTIAL
from vedette.models.store.fetching.transfer_lock import LOCK, transfer_lock
from vedette.models.store.model_lookup import ModelRef
from vedette.models.tensors import read_tensors

_BLOCK_BYTES = 1 << 20


class Basis(Enum):
    """What a file was compared with."""

    SOURCE = "source"
    """The hash that the model's source gives."""
    ARRIVAL = "arrival"
    """Its hash when it arrived, where the source gives none."""
    NOTHING = "nothing"
    """No hash is known: only the weights' sizes and headers were read."""


class Verdict(Enum):
    WHOLE = "whole"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Checked:
    """One file of a model, and what was found."""

    name: str
    verdict: Verdict
    basis: Basis


def verify_model(ref: ModelRef, read: Callable[[int], None] | None = None) -> tuple[Checked, ...]:
    """Every file of an installed model against its known hash, and all weights against their headers.

    read: called with the number of bytes of each block that was read. Raises ModelNotFoundError, and ModelCorruptError
    where weights without a hash are damaged.
    """
    if not ref.installed:
        raise ModelNotFoundError("models.not_here", name=ref.name)
    manifest = read_manifest(ref.path)
    checked = tuple(_against(manifest, ref.path, read) if manifest else _against_links(ref.path, read))
    if all(each.verdict is Verdict.WHOLE for each in checked):
        read_tensors(ref.path)
    return checked


def _against(manifest: Manifest, directory: Path, read: Callable[[int], None] | None) -> Iterator[Checked]:
    for file in manifest.files:
        path = directory / Path(file.name).name
        basis = Basis.SOURCE if file.from_source else Basis.ARRIVAL
        try:
            same = path.stat().st_size == file.size_bytes and sha256_of(path, read) == file.sha256
        except FileNotFoundError:
            yield Checked(file.name, Verdict.MISSING, basis)
            continue
        yield Checked(file.name, Verdict.WHOLE if same else Verdict.DAMAGED, basis)


def _against_links(directory: Path, read: Callable[[int], None] | None) -> Iterator[Checked]:
    """The files of a directory without a manifest. The hub's client links each to a file that is named by its hash."""
    for path in list_directory(directory, MAX_ENTRIES):
        if path.is_dir():
            continue
        known = path.readlink().name if path.is_symlink() else ""
        if not path.exists():
            yield Checked(path.name, Verdict.MISSING, Basis.NOTHING)
        elif re.fullmatch("[0-9a-f]{64}", known):
            same = sha256_of(path, read) == known
            yield Checked(path.name, Verdict.WHOLE if same else Verdict.DAMAGED, Basis.SOURCE)
        elif re.fullmatch("[0-9a-f]{40}", known):
            same = _git_blob_of(path) == known
            yield Checked(path.name, Verdict.WHOLE if same else Verdict.DAMAGED, Basis.SOURCE)
        else:
            yield Checked(path.name, Verdict.WHOLE, Basis.NOTHING)


def _git_blob_of(path: Path) -> str:
    """Git's hash of a file."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def remove_model(ref: ModelRef, models_dir: Path) -> int:
    """Removes a downloaded model, and returns the bytes that this frees. Models that lie elsewhere stay.

    Raises ModelNotFoundError, and BadInputError for a model that vedette has not downloaded or is downloading now.
    """
    directory = models_dir / ref.origin.directory_name if ref.origin else ref.path
    if directory.parent != models_dir or directory.is_symlink():
        raise BadInputError("models.lies_elsewhere", name=ref.name, path=str(ref.path))
    partial = directory.with_name(directory.name + PARTIAL)
    if not directory.exists() and not partial.exists():
        if ref.installed:
            raise BadInputError("models.lies_elsewhere", name=ref.name, path=str(ref.path))
        raise ModelNotFoundError("models.not_here", name=ref.name)
    try:
        with transfer_lock(directory):
            return sum(map(_remove, filter(Path.exists, (directory, partial))))
    except BlockingIOError:
        raise BadInputError("models.being_downloaded", name=ref.name) from None


def clear_up(models_dir: Path, *, nothing: bool = False) -> dict[str, int]:
    """Removes what downloads that were given up have left; returns the bytes of each directory by its name.

    A download that goes on keeps what it has. nothing: only says what would be removed.
    """
    freed = {}
    for path in _entries(models_dir):
        directory = path.with_name(path.name.removesuffix(PARTIAL))
        if not path.name.endswith(PARTIAL) or not path.is_dir() or path.is_symlink():
            continue
        with contextlib.suppress(BlockingIOError), transfer_lock(directory):
            freed[directory.name] = _size_of(path) if nothing else _remove(path)
    for path in [] if nothing else _entries(models_dir):
        if path.name.startswith(".") and path.name.endswith(LOCK):
            with contextlib.suppress(BlockingIOError), transfer_lock(path.with_name(path.name[1 : -len(LOCK)])):
                path.unlink()
    return freed


def _entries(directory: Path) -> list[Path]:
    return list_directory(directory, MAX_ENTRIES) if directory.is_dir() else []


def _remove(directory: Path) -> int:
    size_bytes = _size_of(directory)
    shutil.rmtree(directory)
    return size_bytes


def _size_of(directory: Path) -> int:
    """The bytes on the disk, without those that a link leads to."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if not path.is_symlink())
