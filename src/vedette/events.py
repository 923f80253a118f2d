"""The events and the status that vedette reports, and their JSON.

`event_json` makes the objects that `--json` prints. `parse_event` reads them back in another process. `status_json` and
`parse_status` do the same for a status. In JSON:

- A field `message` has its English sentence and hint beside it, as `sentence` and `hint`.
- A message in any other field `x` is two fields: `x` is the English sentence, and `x_message` the message itself.
- A message whose code is unknown here (from an older or newer vedette) is read as its sentence.
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
    """The device was read."""

    device: Device


class ModelChosen(msgspec.Struct, frozen=True, tag_field="event", tag="model"):
    """A model was chosen to be served, and why."""

    name: str
    weights_bytes: int
    why: Message


class PlanMade(msgspec.Struct, frozen=True, tag_field="event", tag="plan"):
    """The engine's plan was made. `plan` is the JSON that report/document.py makes."""

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
    """The engine was ready again after one or more crashes."""

    at: float
    """Unix time in seconds at which the engine was ready again."""
    code: str
    """Code of the last crash's cause."""
    fault: str | None
    """The cause of a memory shortage (value of `crash.Fault`); None if memory did not run out."""
    message: Message
    deaths: int
    """Crashes in a row, with no steady run (`crash.STEADY_RUN_S`) between them."""
    before: ServedWith
    now: ServedWith


class Note(msgspec.Struct, frozen=True, tag_field="event", tag="note", omit_defaults=True):
    """A sentence for a person."""

    message: Message
    code: str | None = None
    """Code of the finding (device/findings.py); None if the note is about no finding."""
    size_bytes: int | None = None
    """The memory or disk space that the finding is about."""
    recovery: Recovered | None = None


class StatusChanged(msgspec.Struct, frozen=True, tag_field="event", tag="status", omit_defaults=True):
    """The state or phase of a model has changed."""

    status: Status
    elapsed_ms: int
    """Since the start began."""
    model: str | None = None
    """The model's name; None if only one model is served."""


class Listening(msgspec.Struct, frozen=True, tag_field="event", tag="listening"):
    """The page can be opened. It shows the progress of the start."""

    page_url: str


class Ready(msgspec.Struct, frozen=True, tag_field="event", tag="ready"):
    """All models are ready to answer."""

    page_url: str
    api_url: str
    elapsed_ms: int
    """Since the start began."""


class Stopped(msgspec.Struct, frozen=True, tag_field="event", tag="stopped"):
    """vedette has stopped all that it started."""


class OutcomeMeasured(msgspec.Struct, frozen=True, tag_field="event", tag="outcome"):
    """A plan was tried and measured. `outcomes` is the JSON that report/outcome.py makes."""

    outcomes: Sequence[Mapping[str, Any]]


class Failed(msgspec.Struct, frozen=True, tag_field="event", tag="error"):
    """A command ended with an error."""

    code: str
    message: Message
    retryable: bool

    @classmethod
    def of(cls, error: VedetteError) -> "Failed":
        """Return the event for `error`."""
        return msgspec.convert(_readable(error.as_json()), cls, strict=False)


Event: TypeAlias = (
    DeviceRead | ModelChosen | PlanMade | Note | StatusChanged | Listening | Ready | Stopped | OutcomeMeasured | Failed
)
Notify = Callable[[Event], None]
"""A function that is called with each event when it happens."""


class ModelStatus(msgspec.Struct, frozen=True):
    """The status of one served model."""

    status: Status
    model: str | None
    """The model's name; None before the model is chosen."""
    next_model: str | None
    """The model of the swap in progress; None without a swap."""
    page_url: str
    api_url: str
    engine_pid: int | None = None
    plan: Mapping[str, Any] | None = None
    recovered: tuple[Recovered, ...] = ()
    """The recoveries from crashes, oldest first."""

    @property
    def state(self) -> State:
        return self.status.state


class ServiceStatus(msgspec.Struct, frozen=True):
    """The status of one vedette process: of each model that it serves."""

    models: tuple[ModelStatus, ...]
    """Never empty."""


def event_json(event: Event) -> dict[str, Any]:
    """Return the object that `--json` prints for an event."""
    return {"event": type(event).__struct_config__.tag, **_fields_json(event)}


def parse_event(document: object) -> Event:
    """Return the event that `event_json` turned into JSON. Raises ValueError for anything else."""
    readable = _readable(document)
    if not isinstance(readable, Mapping):
        raise ValueError("no event: it is no object")
    # In JSON the fields of a device and of a status stand beside the event's own fields.
    event: Event = msgspec.convert({"device": readable, "status": readable, **readable}, Event)
    return event


def status_json(status: ServiceStatus) -> dict[str, Any]:
    """Return the object that `vedette status --json` prints: the first model's status, and all models in `models`."""
    models = [model_status_json(each) for each in status.models]
    return {**models[0], "models": models}


def model_status_json(status: ModelStatus) -> dict[str, Any]:
    """Return one element of `models` in `vedette status --json`."""
    return _fields_json(status)


def parse_status(document: Mapping[str, Any]) -> ServiceStatus:
    """Return the status that `status_json` turned into JSON. Raises ValueError for anything else."""
    models = document.get("models")
    if not isinstance(models, list):
        raise ValueError("no status: it has no models")
    return msgspec.convert({"models": [{"status": each, **each} for each in map(_readable, models)]}, ServiceStatus)


_FLAT = ("device", "status")
"""Fields whose own fields stand beside the others in JSON, not in an object."""
_DOCUMENTS = ("plan", "outcomes")
"""Fields that hold JSON already and are not converted."""


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
    """Return the defaults of the fields that JSON omits when they have their default."""
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
    """Return a JSON value in which each message is a `Message`."""
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
