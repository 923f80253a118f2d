"""Downloads one model from a Hugging Face hub: `python -m vedette.models.store.hub_download ID DIRECTORY`.

A process of its own, so that vedette never loads the hub's client. It prints one JSON object a line:
`{"done_bytes", "total_bytes", "detail"}` for progress, `{"error", "detail"}` as the last line if it failed. Files go
to DIRECTORY.partial and are checked against the hub's hashes; when all are there, the directory is renamed. A download
that was killed resumes. HF_ENDPOINT and HF_TOKEN work as in the hub's client.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vedette.files import open_regular

SERVED_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".tiktoken", ".safetensors"}
"""Files that vLLM needs; weights in other formats and examples are not downloaded."""
DISK_MARGIN_BYTES = 256 * 1024**2
PROGRESS_INTERVAL_S = 0.2
CHUNK_BYTES = 1 << 20
"""A broken connection loses at most one chunk, and progress is shown once a chunk; the client's are 10 MB."""
NETWORK_MODULES = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket"}
"""Modules of the client's errors when no hub answers; the library differs between its releases."""


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
    os.environ |= {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Only plain HTTP can resume at any byte.
        "HF_HUB_DISABLE_XET": "1",
    }
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
    commit, files = list_files(model_id)
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
        download_file(model_id, commit, partial, file, progress)
        progress.done_bytes += file.size_bytes
    progress.show(0, directory.name, at_once=True)
    # A renamed directory counts as installed, also after a power cut: its data must be on the disk first.
    os.sync()
    if directory.exists():
        shutil.rmtree(directory)
    partial.rename(directory)


def list_files(model_id: str) -> tuple[str, list[RemoteFile]]:
    """The commit of the main branch, and the files of it that serving needs."""
    from huggingface_hub import HfApi

    with hub_errors():
        info = HfApi().model_info(model_id, files_metadata=True, timeout=15)
    files = []
    for sibling in info.siblings or []:
        path = PurePosixPath(sibling.rfilename)
        if path.name != sibling.rfilename or path.suffix not in SERVED_SUFFIXES or path.name.startswith("."):
            continue
        if path.name.startswith("consolidated") or sibling.size is None:
            continue
        lfs = sibling.lfs.sha256 if sibling.lfs else None
        files.append(RemoteFile(path.name, sibling.size, lfs, None if lfs else sibling.blob_id))
    names = {file.name for file in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise FetchError("no_model", "no config.json or no safetensors")
    if not info.sha:
        raise FetchError("unexpected", "no commit")
    # Small files first: they show a fault of the model before its gigabytes are downloaded.
    return info.sha, sorted(files, key=lambda file: (file.size_bytes, file.name))


@contextlib.contextmanager
def hub_errors() -> Iterator[None]:
    """Turns the client's errors into FetchError, without addresses and tokens."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        gated = isinstance(error, errors.GatedRepoError) or status == 403
        # The hub also answers 401 for a missing model, unless it names the token as the reason.
        token = error.response.headers.get("X-Error-Message") == "Invalid credentials in Authorization header"
        kind = {401: "unauthorized" if token else "not_found", 404: "not_found"}.get(status, "refused")
        raise FetchError("gated" if gated else kind, str(status)) from error
    except Exception as error:
        if not isinstance(error, (ConnectionError, TimeoutError)) and not _is_network_error(error):
            raise
        raise FetchError("unreachable", type(error).__name__) from error


def _is_network_error(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in NETWORK_MODULES


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
    with open_regular(path) as data:
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


def download_file(model_id: str, commit: str, partial: Path, file: RemoteFile, progress: Progress) -> None:
    """Downloads one file, resuming if a part of it is there; once more from its start if the hash is wrong."""
    target = unfinished(partial, file)
    for from_start in (False, True):
        if from_start or (target.exists() and target.stat().st_size > file.size_bytes):
            target.unlink(missing_ok=True)
        receive(model_id, commit, target, file, progress)
        if is_whole(target, file):
            target.rename(partial / file.name)
            return
    target.unlink()
    raise FetchError("corrupt", file.name)


def receive(model_id: str, commit: str, target: Path, file: RemoteFile, progress: Progress) -> None:
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
    url = hf_hub_url(model_id, file.name, revision=commit)
    with ProgressFile(target, progress, file.name) as data, hub_errors():
        here = data.seek(0, io.SEEK_END)
        progress.show(here, file.name, at_once=True)
        try:
            http_get(url, data, resume_size=here, headers=build_hf_headers(), expected_size=file.size_bytes)
        except OSError as error:
            # The file has another length than announced: the check of its hash finds out and downloads it again.
            if type(error) is not OSError or error.errno is not None:
                raise


if __name__ == "__main__":
    main()
