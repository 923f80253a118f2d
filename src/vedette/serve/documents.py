"""JSON objects that several answers of the app have in common, as types: for the API reference, and to check them."""

from typing import Any

import msgspec

from vedette.engine.state import Phase, State


class MessageDocument(msgspec.Struct, frozen=True):
    """A sentence as a code and its parameters; `/api/language/en` and `/api/language/zh` have the sentences."""

    code: str
    params: dict[str, Any]
    """Raw values with their units in their names."""


class ErrorDocument(msgspec.Struct, frozen=True):
    """What went wrong, and what to do next."""

    code: str
    """The kind of error; stable, for programs."""
    sentence: str
    """What happened, in English."""
    hint: str
    """What to do next, in English; empty where nothing can be done."""
    retryable: bool
    """Whether the same request may succeed later; the answer has `Retry-After` then."""
    message: MessageDocument


class Problem(msgspec.Struct, frozen=True):
    """The answer to a request that failed, outside of `/v1`."""

    error: ErrorDocument


class OpenAiError(msgspec.Struct, frozen=True):
    """An error in OpenAI's shape."""

    message: str
    """What happened and what to do next, in English."""
    type: str
    param: str | None
    code: str
    """The kind of error; stable, for programs."""
    detail: MessageDocument
    """vedette's own addition: `message` as a code and its parameters."""


class OpenAiProblem(msgspec.Struct, frozen=True):
    """The answer to a request to `/v1` that vedette refuses."""

    error: OpenAiError


class CauseDocument(msgspec.Struct, frozen=True):
    """Why no engine serves."""

    code: str
    sentence: str
    hint: str | None
    message: MessageDocument


class ModelStatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one served model."""

    state: State
    phase: Phase | None
    """What is being done while preparing or starting."""
    detail: str | None
    detail_message: MessageDocument | None = None
    done: int | None
    """How much of `total` is done, in units of the phase: bytes, or shards of weights."""
    total: int | None
    cause: CauseDocument | None
    since: float
    """Unix time in seconds at which this state and phase began."""
    model: str | None
    """Null before it is chosen."""
    next_model: str | None
    """The model that a swap is about to put in its place."""
    page_url: str
    api_url: str
    engine_pid: int | None
    plan: dict[str, Any] | None
    """As `vedette plan --json` prints it."""
    recovered: list[dict[str, Any]]
    """The crashes that were recovered from, oldest first."""


class StatusDocument(ModelStatusDocument, frozen=True, kw_only=True):
    """The first model's status, and the status of every model."""

    models: list[ModelStatusDocument]


class Health(msgspec.Struct, frozen=True):
    """Whether requests to all models are answered."""

    state: State
    reason: str | None
    """Why not, in English; null if they are."""
