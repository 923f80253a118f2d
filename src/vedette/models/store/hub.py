"""Downloads one model from a Hugging Face hub: `python -m vedette.models.store.hub ID DIRECTORY`.

Runs as a process of its own, so that a resident vedette never holds the hub's client. Prints one JSON object a
line: `{"done_bytes", "total_bytes", "detail"}` on the way, `{"error", "detail"}` at the end if it failed. Files go
to DIRECTORY.partial, each checked against the hub's own hash; only when all are there is it renamed to DIRECTORY.
Killed at any moment, it takes up where it stopped. HF_ENDPOINT and HF_TOKEN count as everywhere.
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

SERVED_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".tiktoken", ".safetensors"}
"""What vLLM needs of a repository; weights in other formats and demonstrations are left there."""
DISK_MARGIN_BYTES = 256 * 1024**2
PROGRESS_INTERVAL_S = 0.2
CHUNK_BYTES = 1 << 20
"""What a broken connection may cost, and how finely progress shows; the client's own chunks are 10 MB."""
NETWORK_MODULES = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket"}
"""Where the client's errors come from when no hub answers; which library it uses changes between releases."""


class FetchError(Exception):
    """Ends the download; `kind` is the `error` of the last line."""

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
    """Of a file in large-file storage; None for small ones."""
    git_blob: str | None
    """Git's own hash of a small file."""


class Progress:
    """Prints how far the whole download is, not too often."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.done_bytes = 0
        self._last_s = 0.0

    def show(self, file_bytes: int, name: str, at_once: bool = False) -> None:
        now_s = time.monotonic()
        if at_once or now_s - self._last_s >= PROGRESS_INTERVAL_S:
            self._last_s = now_s
            say({"done_bytes": self.done_bytes + file_bytes, "total_bytes": self.total_bytes, "detail": name})


class ShownFile(io.FileIO):
    """A file that tells the progress whenever it grows."""

    def __init__(self, path: Path, progress: Progress, name: str) -> None:
        super().__init__(path, "a+")
        self._progress = progress
        self._shown_name = name

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        self._progress.show(self.tell(), self._shown_name)
        return written


def say(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    os.environ |= {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Plain HTTP is what can be taken up again byte by byte.
        "HF_HUB_DISABLE_XET": "1",
    }
    try:
        download(sys.argv[1], Path(sys.argv[2]))
    except FetchError as error:
        fail(error.kind, error.detail)
    except OSError as error:
        fail("no_space" if error.errno == errno.ENOSPC else "disk", error.strerror or type(error).__name__)
    except Exception as error:
        # Its text may hold addresses with signatures in them; its kind says enough.
        fail("unexpected", type(error).__name__)


def fail(kind: str, detail: str) -> None:
    say({"error": kind, "detail": detail})
    sys.exit(1)


def download(model_id: str, directory: Path) -> None:
    """The whole way: list, check the disk, download and check every file, rename."""
    commit, files = list_files(model_id)
    partial = directory.with_name(f"{directory.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    remove_strangers(partial, files)
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
    # The renamed directory counts as installed, also after a power cut: its data has to be on the disk first.
    os.sync()
    if directory.exists():
        shutil.rmtree(directory)
    partial.rename(directory)


def list_files(model_id: str) -> tuple[str, list[RemoteFile]]:
    """The commit of the main branch, and its files that serving needs."""
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
        raise FetchError("no_model", "it has no config.json with weights in the safetensors format")
    if not info.sha:
        raise FetchError("protocol", "the hub names no commit")
    # Small files first: what is wrong with a model shows before its gigabytes are here.
    return info.sha, sorted(files, key=lambda file: (file.size_bytes, file.name))


@contextlib.contextmanager
def hub_errors() -> Iterator[None]:
    """Turns the client's errors into the few that differ for a person. Says nothing of addresses or tokens."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        gated = isinstance(error, errors.GatedRepoError) or status == 403
        # The hub answers 401 for what is missing, too, unless it says that the token is what it minds.
        token = error.response.headers.get("X-Error-Message") == "Invalid credentials in Authorization header"
        kind = {401: "unauthorized" if token else "not_found", 404: "not_found"}.get(status, "refused")
        raise FetchError("gated" if gated else kind, f"the hub answered with status {status}") from error
    except Exception as error:
        if not isinstance(error, (ConnectionError, TimeoutError)) and not _is_network_error(error):
            raise
        raise FetchError("unreachable", type(error).__name__) from error


def _is_network_error(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in NETWORK_MODULES


def remove_strangers(partial: Path, files: list[RemoteFile]) -> None:
    """Whatever an earlier version of the model left in the half-made directory."""
    expected = {file.name for file in files} | {unfinished(partial, file).name for file in files}
    for path in partial.iterdir():
        if path.name in expected:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def unfinished(partial: Path, file: RemoteFile) -> Path:
    """Where a file grows; the hash in its name keeps versions apart."""
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
    """Raises FetchError before anything is written if the disk cannot hold it."""
    here = sum(path.stat().st_size for path in partial.glob("*.unfinished"))
    needed = sum(file.size_bytes for file in missing) - here
    free = shutil.disk_usage(partial).free
    if missing and free < needed + DISK_MARGIN_BYTES:
        raise FetchError("disk_full", f"{needed + DISK_MARGIN_BYTES} {free}")


def download_file(model_id: str, commit: str, partial: Path, file: RemoteFile, progress: Progress) -> None:
    """One file, from where it stopped last time; a second time from its start if the hash is wrong."""
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
    with ShownFile(target, progress, file.name) as data, hub_errors():
        here = data.seek(0, io.SEEK_END)
        progress.show(here, file.name, at_once=True)
        try:
            http_get(url, data, resume_size=here, headers=build_hf_headers(), expected_size=file.size_bytes)
        except OSError as error:
            # A file of another length than announced: its hash tells, and it is fetched anew.
            if type(error) is not OSError or error.errno is not None:
                raise


if __name__ == "__main__":
    main()
