"""Downloads one model: `python -m vedette.models.store.fetching.downloader ORIGIN DIRECTORY KEYS`.

A process of its own, so that vedette never loads a hub's client. ORIGIN is a kind and a path (`huggingface:org/name`,
`web:https://…`), KEYS the directory of vedette's own keys. It prints one JSON object a line (transfer_report.py). Files
go to DIRECTORY.partial and are checked against the source's hashes; when all are there, a manifest is written and the
directory is renamed. A download that was killed resumes at the byte where it ended.
"""

import errno
import os
import shutil
import sys
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath

import msgspec

from vedette.errors import ModelCorruptError
from vedette.files import write_whole
from vedette.models.store.fetching.file_transfer import (
    FileTransfer,
    Patience,
    StoppedError,
    finished,
    size_of,
    unfinished,
)
from vedette.models.store.fetching.manifest import MANIFEST, Manifest, ManifestFile
from vedette.models.store.fetching.model_source import Listing, ModelSource, RemoteFile, SourceError, Trouble, flat
from vedette.models.store.fetching.origin import PARTIAL, Kind, Origin
from vedette.models.store.fetching.source_choice import source_of
from vedette.models.store.fetching.transfer_lock import transfer_lock
from vedette.models.store.fetching.transfer_report import Report, TransferProgress, print_report, report_of
from vedette.models.store.fetching.web_access import BROKEN_OFF
from vedette.models.tensors import read_tensors

SERVED_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".tiktoken", ".safetensors", ".py"}
"""Files that vLLM needs; weights in other formats and examples are not downloaded."""
DISK_MARGIN_BYTES = 256 * 1024**2
FILES_AT_ONCE = 3


def main() -> None:
    kind, _, path = sys.argv[1].partition(":")
    origin, directory = Origin(Kind(kind), path), Path(sys.argv[2])
    try:
        with transfer_lock(directory, lambda: print_report(Report(waiting=True))):
            if not (directory / "config.json").is_file():  # else: another process has brought it meanwhile
                download(origin, source_of(origin, Path(sys.argv[3])), directory)
    except SourceError as error:
        fail(error)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        trouble = Trouble.DISK_FILLED_UP if full else Trouble.NOT_WRITTEN
        fail(SourceError(trouble, error.strerror or type(error).__name__))
    except Exception as error:
        # The text of the error may hold signed addresses: only its kind is passed on.
        fail(SourceError(Trouble.UNEXPECTED, type(error).__name__))


def fail(error: SourceError) -> None:
    print_report(report_of(error))
    sys.exit(1)


def download(origin: Origin, source: ModelSource, directory: Path) -> None:
    """Lists the files, checks the disk, downloads and checks every file, and renames the directory."""
    patience = Patience(threading.Event())
    listing = list_patiently(source, patience)
    files = served_files(listing)
    partial = directory.with_name(f"{directory.name}{PARTIAL}")
    partial.mkdir(parents=True, exist_ok=True)
    remove_unexpected(partial, files)
    progress = TransferProgress(sum(file.size_bytes or 0 for file in files))
    here = {file.name: whole for file in files if (whole := finished(partial, file, progress))}
    missing = [file for file in files if file.name not in here]
    begun = sum(size_of(unfinished(partial, file)) for file in missing)
    progress.here(begun)
    check_disk(partial, sum(file.size_bytes or 0 for file in missing) - begun)
    transfer = FileTransfer(source, partial, progress, patience)
    here |= {each.name: each for each in receive_all(transfer, missing)}
    progress.show(directory.name)
    finish(partial, directory, Manifest(origin.name, listing.revision, tuple(here[file.name] for file in files)))


def list_patiently(source: ModelSource, patience: Patience) -> Listing:
    """The files of the model. Where nobody answers at all there is no second attempt: another source may."""
    for attempt in range(1, 100):
        try:
            return source.list_files()
        except SourceError as error:
            if error.trouble is not Trouble.BUSY and error.detail not in BROKEN_OFF:
                raise
            patience.wait(error, attempt)
    raise AssertionError("patience ends earlier")


def served_files(listing: Listing) -> list[RemoteFile]:
    """The files that serving needs, small ones first: they show a fault of the model before its gigabytes arrive."""
    files = []
    for file in flat(listing.files):
        path = PurePosixPath(file.name)
        wanted = path.suffix in SERVED_SUFFIXES and not path.name.startswith((".", "consolidated"))
        if wanted and path.name != MANIFEST and file.size_bytes is not None:
            files.append(file)
    names = {file.name for file in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise SourceError(Trouble.NO_MODEL)
    return sorted(files, key=lambda file: (file.size_bytes or 0, file.name))


def remove_unexpected(partial: Path, files: list[RemoteFile]) -> None:
    """Removes links, and files that an earlier version of the model left in the partial directory."""
    expected = {file.name for file in files} | {unfinished(partial, file).name for file in files}
    for path in partial.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in expected or not path.is_file() or path.is_symlink():
            path.unlink()


def check_disk(partial: Path, needed_bytes: int) -> None:
    """Raises SourceError if the disk is too small for the bytes that are to come."""
    free = shutil.disk_usage(partial).free
    if needed_bytes > 0 and free < needed_bytes + DISK_MARGIN_BYTES:
        raise SourceError(Trouble.DISK_TOO_SMALL, f"{needed_bytes + DISK_MARGIN_BYTES} {free}")


def receive_all(transfer: FileTransfer, files: list[RemoteFile]) -> list[ManifestFile]:
    """Downloads several files at a time. The first trouble ends them all, and is raised."""
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        running = [pool.submit(transfer.run, file) for file in files]
        done, _ = wait(running, return_when=FIRST_EXCEPTION)
        if any(each.exception() for each in done):
            transfer.patience.stopped.set()
            pool.shutdown(cancel_futures=True)
        errors = [each.exception() for each in running if not each.cancelled() and each.exception()]
        for error in sorted(filter(None, errors), key=lambda error: isinstance(error, StoppedError)):
            raise error
        return [each.result() for each in running]


def finish(partial: Path, directory: Path, manifest: Manifest) -> None:
    """Gives a whole download its name. A named directory counts as installed, also after a power cut."""
    try:
        read_tensors(partial)
    except ModelCorruptError as error:
        for file in manifest.files:
            if not file.from_source:  # what it should be is unknown: the next download brings it again
                (partial / file.name).unlink()
        raise SourceError(Trouble.UNUSABLE, str(error.message.params.get("path", "")).rpartition("/")[2]) from None
    write_whole(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    _sync(partial)
    if directory.exists():
        shutil.rmtree(directory)
    partial.rename(directory)
    _sync(directory.parent)


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


if __name__ == "__main__":
    main()
