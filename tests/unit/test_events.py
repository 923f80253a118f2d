"""What a start and a status tell, on the wire and back."""

import json

import pytest

from vedette.device.boards import device_named
from vedette.engine.state import Phase, State, Status
from vedette.errors import Cause, DoesNotFitError, EngineDiedError, RemoteError
from vedette.events import (
    DeviceRead,
    Event,
    Failed,
    Listening,
    ModelChosen,
    ModelStatus,
    Note,
    OutcomeMeasured,
    PlanMade,
    Ready,
    Recovered,
    ServedWith,
    ServiceStatus,
    StatusChanged,
    Stopped,
    event_json,
    parse_event,
    parse_status,
    status_json,
)
from vedette.language.message import Message

SENTENCE = Message("errors.verbatim", sentence="It is so.", hint="Do that.")
DIED = Cause("out_of_memory", Message("engine.killed_by_kernel"))
LOADING = Status(State.STARTING, Phase.LOADING, Message("detail.verbatim", text="model.safetensors"), 1, 2, since=3.0)
DEAD = Status(State.FAILED, cause=DIED, since=4.0)
WITH = ServedWith("tiny", 2**30, 2048, 4, 1, 307_200, 0, None, "graphs")
RECOVERED = Recovered(5.0, "out_of_memory", "others", SENTENCE, 1, WITH, WITH)
EVENTS: list[Event] = [
    DeviceRead(device_named("orin-nano-8gb")),
    ModelChosen("tiny", 29_000_000, SENTENCE),
    PlanMade({"model": "tiny", "reasons": [{"why": "so", "message": {"code": "plan.unknown_yet", "params": {}}}]}),
    Note(SENTENCE),
    Note(SENTENCE, code="clocks", size_bytes=7),
    Note(SENTENCE, recovery=RECOVERED),
    StatusChanged(LOADING, 12),
    StatusChanged(DEAD, 12, model="tiny"),
    Listening("http://127.0.0.1:1/"),
    Ready("http://127.0.0.1:1/", "http://127.0.0.1:1/v1", 1200),
    Stopped(),
    OutcomeMeasured([{"name": "total", "unit": "bytes", "predicted": 1, "measured": None}]),
    Failed("does_not_fit", SENTENCE, retryable=False),
]
SERVED = ModelStatus(LOADING, "tiny", None, "http://h:1/", "http://h:1/v1", 12, {"model": "tiny"}, (RECOVERED,))
WAITING = ModelStatus(DEAD, None, "other", "http://h:1/", "http://h:1/v1")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_from_another_process_as_it_was(event: Event) -> None:
    assert parse_event(json.loads(json.dumps(event_json(event)))) == event


def test_every_kind_of_event_is_tried() -> None:
    assert {type(event) for event in EVENTS} == set(Event.__args__)


def test_a_status_comes_back_from_another_process_as_it_was() -> None:
    status = ServiceStatus((SERVED, WAITING))
    document = json.loads(json.dumps(status_json(status)))
    assert parse_status(document) == status
    assert document["models"][0] == {name: document[name] for name in document if name != "models"}
    assert [each["state"] for each in document["models"]] == ["starting", "failed"]


def test_facts_of_a_device_and_a_status_stand_flat_on_the_wire() -> None:
    device = event_json(EVENTS[0])
    assert (device["event"], device["name"], device["family"]) == ("device", "Jetson Orin Nano 8GB", "jetson")
    status = event_json(StatusChanged(LOADING, 12))
    assert status == {
        "event": "status",
        "state": "starting",
        "phase": "loading_weights",
        "detail": "model.safetensors",
        "detail_message": {"code": "detail.verbatim", "params": {"text": "model.safetensors"}},
        "done": 1,
        "total": 2,
        "cause": None,
        "since": 3.0,
        "elapsed_ms": 12,
    }


def test_a_message_has_its_sentence_and_hint_beside_it() -> None:
    note = event_json(Note(SENTENCE, recovery=RECOVERED))
    assert (note["sentence"], note["hint"]) == ("It is so.", "Do that.")
    assert note["message"] == {"code": "errors.verbatim", "params": {"sentence": "It is so.", "hint": "Do that."}}
    assert note["recovery"]["sentence"] == "It is so."
    assert note["recovery"]["before"]["image_max_pixels"] == 307_200
    cause = event_json(StatusChanged(DEAD, 12))["cause"]
    assert cause["code"] == "out_of_memory"
    assert cause["sentence"] == DIED.sentence


def test_a_sentence_whose_code_is_not_known_here_is_read_as_it_is() -> None:
    strange = {"code": "of.tomorrow", "params": {}}
    note = parse_event({"event": "note", "sentence": "New.", "hint": None, "message": strange})
    assert note == Note(Message("errors.verbatim", sentence="New.", hint=""))
    assert parse_event({"event": "note", "sentence": "Old."}) == Note(
        Message("errors.verbatim", sentence="Old.", hint="")
    )
    with pytest.raises(ValueError, match="event"):
        parse_event({"event": "of tomorrow"})
    with pytest.raises(ValueError, match="no object"):
        parse_event(["event"])
    with pytest.raises(ValueError, match="models"):
        parse_status({"state": "ready"})


def test_an_error_is_an_event_with_the_code_of_its_cause() -> None:
    assert Failed.of(EngineDiedError(DIED)) == Failed("out_of_memory", DIED.message, retryable=False)
    error = DoesNotFitError("errors.verbatim", sentence="Too large.", hint="Ask for less.")
    assert event_json(Failed.of(error)) == {"event": "error", **error.as_json()}
    assert event_json(Failed.of(RemoteError(error.as_json()))) == {"event": "error", **error.as_json()}
