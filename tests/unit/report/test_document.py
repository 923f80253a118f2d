"""A plan as JSON: what other tools rely on."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec

from vedette.device.boards import device_named
from vedette.language.message import Message, parse_message, say
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.make import make_plan
from vedette.plan.plan import Concession, Plan, Wish
from vedette.report.document import EngineDocument, PlanDocument, document_json, plan_document

MEMORY = {
    "weights_bytes",
    "kv_cache_bytes",
    "activation_bytes",
    "vision_activation_bytes",
    "cuda_graph_bytes",
    "runtime_bytes",
    "host_bytes",
    "reserve_bytes",
    "total_bytes",
    "available_bytes",
}


def cosmos_on(board: str) -> Plan:
    model = read_facts(find_model("cosmos-reason2-2b", Path("/nowhere")))
    assert model is not None
    return make_plan(device_named(board), model, Wish())


ENGINE = EngineDocument("container", "0.32.0", None, ["vllm", "serve"], {})


def json_of(plan: Plan, board: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document_json(plan_document(plan, device_named(board), ENGINE))))
    return found


def test_json_has_the_fields_that_others_rely_on() -> None:
    found = json_of(cosmos_on("orin-nx-16gb"), "orin-nx-16gb")
    assert set(found) == {"model", "device", "engine", "fits", "memory", "context", "speed", "wish", "reasons"}
    assert found["model"] == "nvidia/Cosmos-Reason2-2B"
    assert found["engine"] == {
        "kind": "container", "version": "0.32.0", "image": None, "argv": ["vllm", "serve"], "env": {},
    }  # fmt: skip
    assert found["device"]["assumed"] is True
    assert set(found["memory"]) == MEMORY
    parts = sum(found["memory"][name] for name in MEMORY - {"total_bytes", "available_bytes"})
    assert parts == found["memory"]["total_bytes"] <= found["memory"]["available_bytes"]
    assert set(found["context"]) == {
        "max_model_len", "visual_tokens", "images_per_request", "prompt_tokens", "answer_tokens", "image_max_pixels",
        "concurrency",
    }  # fmt: skip
    assert set(found["speed"]) == {"decode_tokens_per_s_ceiling", "decode_tokens_per_s", "first_token_ms_floor"}
    assert found["wish"] == {"met": True}
    assert all(set(reason) == {"subject", "value", "why", "basis", "message"} for reason in found["reasons"])
    assert {reason["basis"] for reason in found["reasons"]} <= {"computed", "assumed", "calibrated"}


def test_a_plan_that_does_not_fit_says_what_is_missing() -> None:
    model = read_facts(find_model("Qwen2-7B-Instruct", Path("/nowhere")))
    assert model is not None
    plan = make_plan(device_named("orin-nano-8gb"), model, Wish())
    found = json_of(plan, "orin-nano-8gb")
    assert found["fits"] is False
    assert found["shortfall_bytes"] == plan.shortfall_bytes > 0


def test_a_wish_that_was_not_granted_and_a_model_that_cannot_run_are_said() -> None:
    wished, planned = (Message("plan.wish.requests", requests=count) for count in (4, 2))
    unsupported = Message("plan.format.fp8_needs_7_5")
    plan = dataclasses.replace(
        cosmos_on("orin-nx-16gb"), concession=Concession(wished, planned, 10), unsupported=unsupported
    )
    found = json_of(plan, "orin-nx-16gb")
    assert found["wish"] == {
        "met": False,
        "wished": "4 requests at once",
        "wished_message": {"code": "plan.wish.requests", "params": {"requests": 4}},
        "planned": "2 requests at once",
        "planned_message": {"code": "plan.wish.requests", "params": {"requests": 2}},
        "missing_bytes": 10,
    }
    assert found["unsupported"] == say(unsupported)
    assert parse_message(found["unsupported_message"]) == unsupported


def test_the_messages_beside_reasons_are_the_plans_own() -> None:
    plan = cosmos_on("orin-nx-16gb")
    found = json_of(plan, "orin-nx-16gb")["reasons"]
    assert [say(parse_message(reason["message"]), "zh") for reason in found] == [
        say(reason.why, "zh") for reason in plan.reasons
    ]


def test_the_document_has_a_type_from_which_it_can_be_read_back() -> None:
    document = plan_document(cosmos_on("orin-nx-16gb"), device_named("orin-nx-16gb"), ENGINE)
    assert msgspec.convert(document_json(document), PlanDocument) == document
    schema = msgspec.json.schema(PlanDocument)
    assert set(schema["$defs"]["PlanDocument"]["required"]) == set(document_json(document))


def test_every_number_has_a_reason() -> None:
    subjects = {reason.subject for reason in cosmos_on("orin-nx-16gb").reasons}
    numbers = {name.removesuffix("_bytes") for name in MEMORY - {"total_bytes"}}
    numbers |= {"max_model_len", "visual_tokens", "prompt_tokens", "answer_tokens", "image_max_pixels", "concurrency"}
    assert numbers <= subjects
