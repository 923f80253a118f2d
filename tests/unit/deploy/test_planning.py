"""The one way to a plan: what is asked of a model, where its engine listens, and which notes come with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from vedette.deploy.planning import (
    PRINTED_PORT,
    EngineFacts,
    Recall,
    Subject,
    does_not_fit,
    grantable,
    plan_beside,
    plan_for,
    wish_of,
    with_engine_returned,
    with_process_returned,
)
from vedette.device.boards import device_named
from vedette.device.device import Device, Family
from vedette.events import Note, PlanMade
from vedette.language.message import Message
from vedette.models.model import Model
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.calibration import Calibration, Key, Lesson, conditions_of
from vedette.plan.plan import Wish, Workload
from vedette.settings.load import read_settings

MIB, GIB = 1024**2, 1024**3
BOARD = device_named("agx-orin-32gb")
DISCRETE = replace(BOARD, unified_memory=False, host_memory_available_bytes=16 * GIB)
ENGINE = EngineFacts("container", "0.32.0", "vllm@sha256:1")
PICTURES = Wish(image_max_pixels=640 * 480, images_per_request=2, answer_tokens=100)


def model_named(name: str) -> Model:
    model = read_facts(find_model(name, Path("/nowhere")))
    assert model is not None
    return model


def subject(name: str, wish: Wish, device: Device = BOARD) -> Subject:
    ref = find_model(name, Path("/nowhere"))
    return Subject(device, ref, model_named(name), wish, ENGINE, Path("/cache"))


def nothing(key: Key) -> None:
    """No start has taught anything."""


SEEING, TEXT = "Cosmos-Reason2-2B", "ERNIE-4.5-0.3B"


def test_a_model_that_sees_is_asked_for_all_of_the_wish() -> None:
    assert grantable(model_named(SEEING), PICTURES) == (PICTURES, ())


@pytest.mark.parametrize(
    "asked", [PICTURES, Wish(images_per_request=1, answer_tokens=100), Wish(image_max_pixels=1, answer_tokens=100)]
)
def test_a_text_model_is_asked_for_text_and_that_is_said(asked: Wish) -> None:
    model = model_named(TEXT)
    assert grantable(model, asked) == (
        Wish(answer_tokens=100),
        (Message("deploy.pictures_ignored", model=model.name),),
    )
    unknown = replace(model, unknown_vision=True, architecture="NewForCausalLM")
    (said,) = grantable(unknown, asked)[1]
    assert said == Message("deploy.pictures_unknown", model=model.name, architecture="NewForCausalLM")


@pytest.mark.parametrize("asked", [Wish(), Wish(images_per_request=0), Wish(max_model_len=512)])
def test_a_wish_without_pictures_is_granted_by_a_text_model(asked: Wish) -> None:
    assert grantable(model_named(TEXT), asked) == (asked, ())


def test_what_is_ignored_is_in_the_document_and_told() -> None:
    proposal = plan_for(subject(TEXT, PICTURES), nothing)
    wish = proposal.document.wish
    assert not wish.met
    assert wish.ignored == [str(proposal.plan.ignored[0])]
    assert proposal.plan.fits
    made, note = proposal.events
    assert made == PlanMade(proposal.as_json())
    assert note == Note(Message("deploy.pictures_ignored", model=proposal.model.name))
    granted = plan_for(subject(TEXT, Wish()), nothing)
    assert granted.document.wish.met
    assert granted.notes == []


def test_a_command_is_shown_with_vllms_port_and_run_on_a_socket() -> None:
    proposal = plan_for(subject(SEEING, Wish()), nothing)
    assert proposal.target.port == PRINTED_PORT == 8000
    assert proposal.arguments[0] == "vllm"
    assert ("--port", "8000") in zip(proposal.arguments, proposal.arguments[1:], strict=False)
    started = proposal.on_socket(("larger",))
    assert (started.target.port, started.target.also_named, started.plan) == (None, ("larger",), proposal.plan)
    assert {**started.as_json(), "engine": None} == {**proposal.as_json(), "engine": None}
    assert proposal.variables["TRITON_CACHE_DIR"] == "/cache/triton"
    assert proposal.document.engine.image == "vllm@sha256:1"


@pytest.mark.parametrize(("family", "cpu"), [(Family.CPU, True), (Family.JETSON, False)])
def test_the_target_knows_whether_a_processor_runs_it(family: Family, cpu: bool) -> None:
    device = replace(BOARD, family=family)
    assert plan_for(subject(TEXT, Wish(), device), nothing).target.cpu is cpu


def test_a_plan_takes_what_is_allowed_of_what_is_known() -> None:
    one = subject(SEEING, Wish())
    known = replace(BOARD, memory_available_bytes=20 * GIB)
    allowed = replace(known, memory_available_bytes=9 * GIB)
    free, shared, less = (plan_for(one, nothing, *given).plan for given in ((), (known,), (known, allowed)))
    available = [plan.memory.available_bytes for plan in (free, shared, less)]
    assert available == [BOARD.memory_available_bytes, 20 * GIB, 9 * GIB]
    assert plan_for(one, nothing, known).device == BOARD


def test_what_a_start_taught_is_looked_up_with_the_settings_of_the_plan_and_heeded() -> None:
    plain = plan_for(subject(SEEING, Wish()), nothing)
    asked: list[Key] = []

    def recall(key: Key) -> Calibration:
        asked.append(key)
        total = plain.plan.memory.total_bytes
        lesson = Lesson(planned_bytes=total, at_most_bytes=total - GIB, available_bytes=BOARD.memory_total_bytes)
        return Calibration(key, conditions_of(plain.plan.settings), lesson=lesson)

    taught = plan_for(subject(SEEING, Wish()), recall)
    assert asked == [plain.key]
    assert taught.calibration is not None
    assert taught.plan.memory.total_bytes <= plain.plan.memory.total_bytes - GIB
    assert taught.replan(Wish()) == taught.plan
    assert plain.replan(Wish(concurrency=1)).context.concurrency == 1


def test_models_beside_each_other_are_planned_each_with_its_share() -> None:
    recall: Recall = nothing
    packed = plan_beside([subject(SEEING, PICTURES), subject(TEXT, PICTURES)], recall)
    assert [each.model.name for each in packed.together] == [model_named(SEEING).name, model_named(TEXT).name]
    assert packed.in_turns == ()
    for proposal, share in zip(packed.together, packed.shares, strict=True):
        assert proposal.plan.memory.available_bytes == share.memory_bytes
        assert proposal.plan == plan_for(subject(proposal.ref.name, PICTURES), nothing, share.of(BOARD)).plan
    document = packed.as_json()
    assert [plan["wish"]["met"] for plan in document["together"]] == [True, False]
    assert document["reserve_bytes"] == packed.room.reserve_bytes > 0
    assert packed.room.available_bytes == BOARD.memory_available_bytes
    small = replace(BOARD, memory_available_bytes=6 * GIB)
    tight = plan_beside([subject(TEXT, Wish(), small), subject(SEEING, Wish(), small)], recall)
    assert [each.ref.name for each in tight.in_turns] == [find_model(SEEING, Path("/nowhere")).name]
    assert len(tight.shares) == len(tight.together) == 1


def test_settings_become_a_wish() -> None:
    asked = {"picture": "640x480", "images": 2, "context": 2048, "concurrency": 3, "workload": "chat"}
    settings = read_settings({**asked, "answer_tokens": 99, "prompt_tokens": 50}, {"HOME": "/nowhere"})
    assert wish_of(settings) == Wish(Workload.CHAT, 640 * 480, 50, 99, 2, 3, 2048)
    assert wish_of(read_settings({}, {"HOME": "/nowhere"})) == Wish()


def test_a_plan_that_does_not_fit_says_how_much_is_missing() -> None:
    plan = plan_for(subject(SEEING, Wish(), replace(BOARD, memory_available_bytes=GIB)), nothing).plan
    error = does_not_fit(plan)
    assert error.message.code == "deploy.does_not_fit"
    assert error.message.params["missing_bytes"] == plan.shortfall_bytes > 0
    assert error.message.params["available_bytes"] == plan.memory.available_bytes
    unsupported = replace(plan, unsupported=Message("phase.planning"))
    assert does_not_fit(unsupported).message.code == "deploy.cannot_run_here"


def test_the_memory_of_an_engine_that_ends_is_counted_as_free_up_to_all_there_is() -> None:
    plan = plan_for(subject(SEEING, Wish(concurrency=1, max_model_len=2048)), nothing).plan
    engine = plan.memory.total_bytes - plan.memory.reserve_bytes
    busy = replace(BOARD, memory_available_bytes=2 * GIB)
    assert with_engine_returned(busy, plan).memory_available_bytes == 2 * GIB + engine
    assert with_engine_returned(BOARD, plan).memory_available_bytes == BOARD.memory_total_bytes
    assert with_engine_returned(busy, plan).host_memory_available_bytes is None
    apart = replace(DISCRETE, memory_available_bytes=2 * GIB)
    assert with_engine_returned(apart, plan).host_memory_available_bytes == 16 * GIB + plan.memory.host_bytes


def test_the_memory_of_a_process_is_ram() -> None:
    assert with_process_returned(BOARD, MIB).memory_available_bytes == BOARD.memory_available_bytes + MIB
    freed = with_process_returned(DISCRETE, MIB)
    assert freed.memory_available_bytes == DISCRETE.memory_available_bytes
    assert freed.host_memory_available_bytes == 16 * GIB + MIB
