"""Downloads one model from a Hugging Face hub: `python -m vedette.models.store.hub_download ID DIRECTORY`.

A process of its own, which ends with all that it needed. It prints one JSON object a line:
`{"done_bytes", "total_bytes", "detail"}` for progress, `{"error", "detail"}` as the last line if it failed. Files go
to DIRECTORY.partial and are checked against the hub's hashes; when all are there, the directory is renamed. A download
that was killed resumes.
"""

import contextlib
import errno
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import sys
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vedette.models.store.hub_connection import (
    HubConnection,
    NotAHubError,
    UntrustedRedirectError,
    hub_connection,
    hub_is_forbidden,
)

SERVED_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".tiktoken", ".safetensors"}
"""Files that vLLM needs; weights in other formats and examples are not downloaded."""
DISK_MARGIN_BYTES = 256 * 1024**2
PROGRESS_INTERVAL_S = 0.2
CHUNK_BYTES = 1 << 20
"""A broken connection loses at most one chunk, and progress is shown once a chunk."""
MAX_LISTING_BYTES = 32_000_000
RETRIES = 5
"""Attempts in a row that may bring no further byte of a file before the download fails."""
FIRST_PAUSE_S = 0.5
"""The pause before the first retry; each further one is twice as long."""
BUSY_STATUSES = {429, 500, 502, 503, 504}
"""Statuses after which another attempt may succeed."""
_SHA256 = re.compile("[0-9a-f]{64}")
_SHA1 = re.compile("[0-9a-f]{40}")


class FetchError(Exception):
    """Stops the download; `kind` is the `error` of the last line."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class RemoteFile:
    """One file of the repository as the hub describes it."""

    name: str
    size_bytes: int
    sha256: str | None
    """For a file in large-file storage; None for small files."""
    git_blob: str | None
    """Git's hash of a small file."""


class Progress:
    """Prints the progress of the whole download, at most every PROGRESS_INTERVAL_S."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.done_bytes = 0
        self._last_s = 0.0

    def show(self, file_bytes: int, name: str, at_once: bool = False) -> None:
        now_s = time.monotonic()
        if at_once or now_s - self._last_s >= PROGRESS_INTERVAL_S:
            self._last_s = now_s
            print_json({"done_bytes": self.done_bytes + file_bytes, "total_bytes": self.total_bytes, "detail": name})


class ProgressFile(io.FileIO):
    """A file that reports progress whenever it grows."""

    def __init__(self, path: Path, progress: Progress, name: str) -> None:
        super().__init__(path, "a+")
        self._progress = progress
        self._progress_name = name

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        self._progress.show(self.tell(), self._progress_name)
        return written


def print_json(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    try:
        download(sys.argv[1], Path(sys.argv[2]))
    except FetchError as error:
        fail(error.kind, error.detail)
    except OSError as error:
        fail("no_space" if error.errno == errno.ENOSPC else "disk", error.strerror or type(error).__name__)
    except Exception as error:
        # The text of the error may hold signed addresses: only its kind is passed on.
        fail("unexpected", type(error).__name__)


def fail(kind: str, detail: str) -> None:
    print_json({"error": kind, "detail": detail})
    sys.exit(1)


def download(model_id: str, directory: Path) -> None:
    """Lists the files, checks the disk, downloads and checks every file, and renames the directory."""
    if hub_is_forbidden():
        raise FetchError("unreachable", "HF_HUB_OFFLINE")
    hub = hub_connection()
    commit, files = list_files(hub, model_id)
    partial = directory.with_name(f"{directory.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    remove_unexpected(partial, files)
    progress = Progress(sum(file.size_bytes for file in files))
    missing = []
    for file in files:
        if is_whole(partial / file.name, file):
            progress.done_bytes += file.size_bytes
        else:
            missing.append(file)
    check_disk(partial, missing)
    for file in missing:
        download_file(Remote(hub, model_id, commit), partial, file, progress)
        progress.done_bytes += file.size_bytes
    progress.show(0, directory.name, at_once=True)
    # A renamed directory counts as installed, also after a power cut: its data must be on the disk first.
    os.sync()
    if directory.exists():
        shutil.rmtree(directory)
    partial.rename(directory)


def list_files(hub: HubConnection, model_id: str) -> tuple[str, list[RemoteFile]]:
    """The commit of the main branch, and the files of it that serving needs."""
    with hub_errors(), hub.listing(model_id) as response:
        listing = response.read(MAX_LISTING_BYTES + 1)
    try:
        commit, files = parse_listing(listing)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FetchError("not_a_hub", type(error).__name__) from error
    names = {file.name for file in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise FetchError("no_model", "no config.json or no safetensors")
    # Small files first: they show a fault of the model before its gigabytes are downloaded.
    return commit, sorted(files, key=lambda file: (file.size_bytes, file.name))


def parse_listing(listing: bytes) -> tuple[str, list[RemoteFile]]:
    """The commit and the files that serving needs, from a hub's JSON. Raises ValueError, KeyError, TypeError, …"""
    info = json.loads(listing)
    commit = info["sha"]
    if not _SHA1.fullmatch(commit):
        raise ValueError("no commit")
    files = []
    for entry in info["siblings"]:
        name, size, lfs = entry["rfilename"], entry.get("size"), entry.get("lfs")
        path = PurePosixPath(name)
        if path.name != name or path.suffix not in SERVED_SUFFIXES or name.startswith((".", "consolidated")):
            continue
        if size is None:
            continue
        if not isinstance(size, int) or size < 0:
            raise ValueError("no size")
        sha256, git_blob = (lfs["sha256"], None) if lfs else (None, entry.get("blobId"))
        if not _SHA256.fullmatch(sha256 or "0" * 64) or not _SHA1.fullmatch(git_blob or "0" * 40):
            raise ValueError("no hash")
        files.append(RemoteFile(name, size, sha256, git_blob))
    return commit, files


@contextlib.contextmanager
def hub_errors() -> Iterator[None]:
    """Turns the errors of a connection into FetchError, without addresses and tokens."""
    try:
        yield
    except urllib.error.HTTPError as error:
        status, headers = error.code, error.headers
        gated = status == 403 or headers.get("X-Error-Code") == "GatedRepo"
        # The hub also answers 401 for a missing model, unless it names the token as the reason.
        token = headers.get("X-Error-Message") == "Invalid credentials in Authorization header"
        kind = {401: "unauthorized" if token else "not_found", 404: "not_found"}.get(status, "refused")
        raise FetchError("gated" if gated else kind, str(status)) from error
    except UntrustedRedirectError as error:
        raise FetchError("untrusted_redirect", "") from error
    except NotAHubError as error:
        raise FetchError("not_a_hub", "") from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError("unreachable", type(error).__name__) from error


def remove_unexpected(partial: Path, files: list[RemoteFile]) -> None:
    """Removes files that an earlier version of the model left in the partial directory."""
    expected = {file.name for file in files} | {unfinished(partial, file).name for file in files}
    for path in partial.iterdir():
        if path.name in expected:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def unfinished(partial: Path, file: RemoteFile) -> Path:
    """The path of a file while it is downloaded; the hash in its name tells versions apart."""
    return partial / f"{file.name}.{(file.sha256 or file.git_blob or 'new')[:16]}.unfinished"


def is_whole(path: Path, file: RemoteFile) -> bool:
    """Whether the file is here with the hub's size and hash."""
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    if file.sha256 is None and file.git_blob is None:
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(usedforsecurity=False)
    if not file.sha256:
        digest.update(b"blob %d\0" % file.size_bytes)
    with path.open("rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == (file.sha256 or file.git_blob)


def check_disk(partial: Path, missing: list[RemoteFile]) -> None:
    """Raises FetchError if the disk is too small for the missing files."""
    here = sum(path.stat().st_size for path in partial.glob("*.unfinished"))
    needed = sum(file.size_bytes for file in missing) - here
    free = shutil.disk_usage(partial).free
    if missing and free < needed + DISK_MARGIN_BYTES:
        raise FetchError("disk_full", f"{needed + DISK_MARGIN_BYTES} {free}")


@dataclass(frozen=True)
class Remote:
    """One commit of a model on a hub."""

    hub: HubConnection
    model_id: str
    commit: str


def download_file(remote: Remote, partial: Path, file: RemoteFile, progress: Progress) -> None:
    """Downloads one file, resuming if a part of it is there; once more from its start if the hash is wrong."""
    target = unfinished(partial, file)
    for from_start in (False, True):
        if from_start or (target.exists() and target.stat().st_size > file.size_bytes):
            target.unlink(missing_ok=True)
        receive(remote, target, file, progress)
        if is_whole(target, file):
            target.rename(partial / file.name)
            return
    target.unlink()
    raise FetchError("corrupt", file.name)


def receive(remote: Remote, target: Path, file: RemoteFile, progress: Progress) -> None:
    """Appends the missing bytes of a file to `target`, over as many connections as that takes."""
    with ProgressFile(target, progress, file.name) as data:
        progress.show(data.seek(0, io.SEEK_END), file.name, at_once=True)
        failures = 0
        while data.tell() < file.size_bytes:
            here = data.tell()
            try:
                append(remote, data, file)
                return  # also if the file is shorter than announced: its hash tells
            except FetchError as error:
                failures = 1 if data.tell() > here else failures + 1
                if failures > RETRIES or not may_recover(error):
                    raise
                time.sleep(FIRST_PAUSE_S * 2 ** (failures - 1))


def append(remote: Remote, data: ProgressFile, file: RemoteFile) -> None:
    """Appends the bytes of one response. Raises FetchError, also if the response breaks off."""
    here = data.tell()
    with hub_errors():
        response = remote.hub.file(remote.model_id, remote.commit, file.name, here or None)
    with response:
        if here and response.status != http.client.PARTIAL_CONTENT:  # a server without ranges sends the whole file
            data.truncate(0)
            here = data.seek(0)
        elif here and not (response.headers.get("Content-Range") or "").startswith(f"bytes {here}-"):
            raise FetchError("not_a_hub", "Content-Range")
        for chunk in chunks(response, file.size_bytes + 1 - here):
            data.write(chunk)


def chunks(response: http.client.HTTPResponse, most_bytes: int) -> Iterator[bytes]:
    """Yields a response's bytes as they come, at most `most_bytes`. Raises FetchError if it breaks off."""
    announced = response.length
    missing = most_bytes if announced is None else min(announced, most_bytes)
    while missing:
        with hub_errors():
            chunk = response.read1(min(CHUNK_BYTES, missing))
        if not chunk and announced is None:
            return
        if not chunk:
            raise FetchError("unreachable", "IncompleteRead")
        missing -= len(chunk)
        yield chunk


def may_recover(error: FetchError) -> bool:
    """Whether another attempt may succeed: the connection broke, or the hub is busy."""
    return error.kind == "unreachable" or (error.kind == "refused" and int(error.detail) in BUSY_STATUSES)


if __name__ == "__main__":
    main()
