"""What a person reads about a source's trouble: for each kind of source in its own words."""

import re

from vedette.errors import DiskFullError, ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.language.message import Message
from vedette.models.store.fetching.hub_connection import hub_address
from vedette.models.store.fetching.model_source import SourceError, Trouble
from vedette.models.store.fetching.origin import Kind, Origin


def error_of(error: SourceError, origin: Origin, suggestion: Message | None = None) -> VedetteError:
    """The error for a source's trouble with a model. suggestion: a model that may be meant."""
    if origin.kind is Kind.HUGGING_FACE:
        found = _hub_error(error, origin, suggestion)
    elif origin.kind is Kind.NGC:
        found = _ngc_error(error, origin)
    else:
        found = _other_error(error, origin)
    return found or _any_error(error, origin)


def _hub_error(error: SourceError, origin: Origin, suggestion: Message | None) -> VedetteError | None:
    hub, name = hub_address(), origin.name
    match error.trouble:
        case Trouble.NOT_FOUND:
            return ModelNotFoundError("models.unknown_to_hub", hub=hub, name=name, suggestion=suggestion)
        case Trouble.TERMS:
            return ModelNotFoundError("models.terms_not_accepted", hub=hub, name=name)
        case Trouble.KEY_REFUSED:
            return ModelNotFoundError("models.token_refused", hub=hub)
        case Trouble.BUSY | Trouble.REFUSED:
            return ModelNotFoundError("models.hub_refused", hub=hub, name=name, status=number_in(error.detail))
        case Trouble.UNTRUSTED:
            return ModelNotFoundError("models.untrusted_redirect", hub=hub)
        case Trouble.ODD_ANSWER:
            return ModelNotFoundError("models.not_a_hub", hub=hub)
        case Trouble.UNREACHABLE:
            return ModelNotFoundError("models.no_hub", hub=hub, name=name, error=error.detail, suggestion=suggestion)
        case _:
            return None


def _ngc_error(error: SourceError, origin: Origin) -> VedetteError | None:
    name, page = origin.name, error.page
    match error.trouble:
        case Trouble.NOT_FOUND:
            return ModelNotFoundError("models.unknown_to_ngc", name=name, page=page)
        case Trouble.TERMS:
            return ModelNotFoundError("models.ngc_terms", name=name, page=page)
        case Trouble.KEY_NEEDED:
            return ModelNotFoundError("models.ngc_key_needed", name=name, page=page)
        case Trouble.KEY_REFUSED:
            return ModelNotFoundError("models.ngc_key_refused", name=name, page=page)
        case Trouble.KEY_OPEN:
            return ModelNotFoundError("models.ngc_key_open", path=error.detail)
        case _:
            return None


def _other_error(error: SourceError, origin: Origin) -> VedetteError | None:
    if error.trouble in {Trouble.KEY_NEEDED, Trouble.KEY_REFUSED}:
        return ModelNotFoundError("models.modelscope_key", name=origin.name, page=error.page)
    return None


def _any_error(error: SourceError, origin: Origin) -> VedetteError:
    """What is said of every source alike."""
    name = origin.name
    match error.trouble:
        case Trouble.NOT_FOUND:
            return ModelNotFoundError("models.unknown_to_source", name=name)
        case Trouble.BUSY:
            return ModelNotFoundError(
                "models.source_busy", name=name, status=number_in(error.detail), wait_s=error.wait_s or 60.0
            )
        case Trouble.REFUSED:
            return ModelNotFoundError("models.source_refused", name=name, status=number_in(error.detail))
        case Trouble.UNTRUSTED:
            return ModelNotFoundError("models.source_untrusted", name=name)
        case Trouble.ODD_ANSWER:
            return ModelNotFoundError("models.source_odd", name=name)
        case Trouble.UNREACHABLE:
            return ModelNotFoundError("models.no_source", name=name, error=error.detail)
        case Trouble.HOSTILE_NAME:
            return ModelCorruptError("models.hostile_name", name=name, file=error.detail)
        case Trouble.CORRUPT:
            return ModelCorruptError("models.arrived_damaged", name=name, file=error.detail)
        case Trouble.UNUSABLE:
            return ModelCorruptError("models.arrived_unusable", name=name, file=error.detail)
        case _:
            return ModelNotFoundError("models.download_failed", name=name, reason=error.detail)


def disk_error(error: SourceError, name: str, place: str) -> VedetteError | None:
    """The error if the trouble is that of this machine's disk. place: the directory of the models."""
    match error.trouble:
        case Trouble.DISK_TOO_SMALL:
            needed, free = (*map(number_in, error.detail.split()), 0, 0)[:2]
            return DiskFullError("models.disk_too_small", name=name, path=place, needed_bytes=needed, free_bytes=free)
        case Trouble.DISK_FILLED_UP:
            return DiskFullError("models.disk_filled_up", name=name, path=place)
        case Trouble.NOT_WRITTEN:
            return ModelNotFoundError("models.not_written", name=name, path=place, reason=error.detail)
        case _:
            return None


def number_in(text: str) -> int:
    """A number that another process has printed; 0 for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else 0
