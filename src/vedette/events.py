"""What a start, a plan, a status, a measurement and an error tell: values inside, JSON at the edge.

`event_json` makes the objects that `--json` prints, `parse_event` reads them back from another process; `status_json`
and `parse_status` do the same for a status. On the wire a message `message` has its English sentence and hint beside
it (`sentence`, `hint`), and a message of another name is the English sentence under that name and the message itself
under `…_message`. A message of an older or newer vedette, whose code is not known here, is read as its sentence.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from vedette.device.device import Device
from vedette.engine.state import State, Status
from vedette.errors import VedetteError
from vedette.language.message import Message, hint_of, message_json, received_message, say


class DeviceRead(msgspec.Struct, frozen=True, tag_field="event", tag="device"):
    """The machine that the plan is made for."""

    device: Device


class ModelChosen(msgspec.Struct, frozen=True, tag_field="event", tag="model"):
    """The model that is served next, and why this one."""

    name: str
    weights_bytes: int
    why: Message


class PlanMade(msgspec.Struct, frozen=True, tag_field="event", tag="plan"):
    """The plan that the engine is started with, as report/document.py has it."""

    plan: Mapping[str, Any]


class ServedWith(msgspec.Struct, frozen=True):
    """The parts of a plan that a recovery may change."""

    model: str
    total_bytes: int
    max_model_len: int
    concurrency: int
    images_per_request: int
    image_max_pixels: int | None
    videos_per_request: int
    kv_cache_dtype: str | None
    graphs: str


class Recovered(msgspec.Struct, frozen=True):
    """An engine's crash that was recovered from."""

    at: float
    """Unix time in seconds at which the engine was ready again."""
    code: str
    """Of the cause."""
    fault: str | None
    """Who took the memory (`recovery.Fault`), where memory ran out."""
    message: Message
    deaths: int
    """Crashes in a row, with no steady run between them."""
    before: ServedWith
    now: ServedWith


class Note(msgspec.Struct, frozen=True, tag_field="event", tag="note", omit_defaults=True):
    """A sentence for a person."""

    message: Message
    code: str | None = None
    """Of a finding (device/findings.py)."""
    size_bytes: int | None = None
    """The memory or disk space that the finding is about."""
    recovery: Recovered | None = None


class StatusChanged(msgspec.Struct, frozen=True, tag_field="event", tag="status", omit_defaults=True):
    """A step of a start, or the end of a run."""

    status: Status
    elapsed_ms: int
    """Since the start began."""
    model: str | None = None
    """Named where several models are served."""


class Listening(msgspec.Struct, frozen=True, tag_field="event", tag="listening"):
    """The page can be opened; it follows the start."""

    page_url: str


class Ready(msgspec.Struct, frozen=True, tag_field="event", tag="ready"):
    """All models answer."""

    page_url: str
    api_url: str
    elapsed_ms: int
    """Since the start began."""


class Stopped(msgspec.Struct, frozen=True, tag_field="event", tag="stopped"):
    """Nothing is left running."""


class Measured(msgspec.Struct, frozen=True, tag_field="event", tag="outcome"):
    """What a tried plan took, as report/outcome.py has it."""

    outcomes: Sequence[Mapping[str, Any]]


class Failed(msgspec.Struct, frozen=True, tag_field="event", tag="error"):
    """Why a command ended with an error."""

    code: str
    message: Message
    retryable: bool

    @classmethod
    def of(cls, error: VedetteError) -> "Failed":
        """The event that shows `error`."""
        return msgspec.convert(_readable(error.as_json()), cls, strict=False)


Event: TypeAlias = (
    DeviceRead | ModelChosen | PlanMade | Note | StatusChanged | Listening | Ready | Stopped | Measured | Failed
)
Notify = Callable[[Event], None]
"""Receives each event as it happens."""


class ModelStatus(msgspec.Struct, frozen=True):
    """How one served model stands."""

    status: Status
    model: str | None
    """None before it is chosen."""
    next_model: str | None
    """The model that is about to take its place."""
    page_url: str
    api_url: str
    engine_pid: int | None = None
    plan: Mapping[str, Any] | None = None
    recovered: tuple[Recovered, ...] = ()
    """Oldest first."""

    @property
    def state(self) -> State:
        return self.status.state


class ServiceStatus(msgspec.Struct, frozen=True):
    """How one vedette stands: each model that it serves."""

    models: tuple[ModelStatus, ...]
    """Never empty."""


def event_json(event: Event) -> dict[str, Any]:
    """The object that `--json` prints for an event."""
    return {"event": type(event).__struct_config__.tag, **_fields_json(event)}


def parse_event(document: object) -> Event:
    """The event that `event_json` made. Raises ValueError for anything else."""
    readable = _readable(document)
    if not isinstance(readable, Mapping):
        raise ValueError("no event: it is no object")
    # Facts of a device and of a status stand flat beside the rest on the wire.
    event: Event = msgspec.convert({"device": readable, "status": readable, **readable}, Event)
    return event


def status_json(status: ServiceStatus) -> dict[str, Any]:
    """The object that `vedette status --json` prints: the first model's status, and all of them as `models`."""
    models = [model_status_json(each) for each in status.models]
    return {**models[0], "models": models}


def model_status_json(status: ModelStatus) -> dict[str, Any]:
    """One of the objects in `models` of `vedette status --json`."""
    return _fields_json(status)


def parse_status(document: Mapping[str, Any]) -> ServiceStatus:
    """The status that `status_json` made. Raises ValueError for anything else."""
    models = document.get("models")
    if not isinstance(models, list):
        raise ValueError("no status: it has no models")
    return msgspec.convert({"models": [{"status": each, **each} for each in map(_readable, models)]}, ServiceStatus)


_FLAT = ("device", "status")
"""Fields whose own fields stand beside the others on the wire."""
_DOCUMENTS = ("plan", "outcomes")
"""Fields that are passed on as they are."""


def _fields_json(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    omitted = _defaults(value)
    for name in _names(value):
        field = getattr(value, name)
        if name in omitted and field == omitted[name]:
            continue
        if name in _FLAT:
            found |= _fields_json(field)
        elif isinstance(field, Message):
            found |= _message_fields(name, field)
        else:
            found[name] = _plain(field)
    return found


def _names(value: Any) -> Iterable[str]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    return (field.name for field in dataclasses.fields(value))


def _defaults(value: Any) -> Mapping[str, Any]:
    """The fields that are left out where they have their default, with it."""
    if not isinstance(value, msgspec.Struct) or not value.__struct_config__.omit_defaults:
        return {}
    defaults = value.__struct_defaults__
    return dict(zip(value.__struct_fields__[len(value.__struct_fields__) - len(defaults) :], defaults, strict=True))


def _message_fields(name: str, message: Message) -> dict[str, Any]:
    if name == "message":
        return {"sentence": say(message), "hint": hint_of(message), "message": message_json(message)}
    return {name: say(message), f"{name}_message": message_json(message)}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Message):
        return message_json(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return _fields_json(value) if isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value) else value


def _readable(value: Any) -> Any:
    """A wire object with its messages as values."""
    if isinstance(value, list):
        return [_readable(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    found = {key: each if key in _DOCUMENTS else _readable(each) for key, each in value.items() if key != "message"}
    if "message" in value or "sentence" in value:
        found["message"] = received_message(value.get("message"), value.get("sentence"), value.get("hint"))
    for key in value:
        if key.endswith("_message"):
            name = key.removesuffix("_message")
            found[name] = received_message(value[key], value.get(name))
    return found
