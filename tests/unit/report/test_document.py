"""A plan as JSON: what other tools rely on."""

import dataclasses
import json
from pathlib import Path

from vedette.device.boards import device_named
from vedette.models.store.model_lookup import find_model, read_source
from vedette.plan.make import make_plan
from vedette.plan.plan import Concession, Plan, Wish
from vedette.report.document import plan_json

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
    model = read_source(find_model("cosmos-reason2-2b", Path("/nowhere")))
    assert model is not None
    return make_plan(device_named(board), model, Wish())


def test_json_has_the_fields_that_others_rely_on() -> None:
    engine = {"kind": "container", "version": "0.32.0", "argv": ["vllm", "serve"], "env": {}}
    found = json.loads(json.dumps(plan_json(cosmos_on("orin-nx-16gb"), device_named("orin-nx-16gb"), engine)))
    assert set(found) == {"model", "device", "engine", "fits", "memory", "context", "speed", "wish", "reasons"}
    assert found["model"] == "nvidia/Cosmos-Reason2-2B"
    assert found["engine"] == engine
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
    assert all(set(reason) == {"subject", "value", "why", "basis"} for reason in found["reasons"])
    assert {reason["basis"] for reason in found["reasons"]} <= {"computed", "assumed", "calibrated"}


def test_a_plan_that_does_not_fit_says_what_is_missing() -> None:
    model = read_source(find_model("Qwen2-7B-Instruct", Path("/nowhere")))
    assert model is not None
    board = device_named("orin-nano-8gb")
    plan = make_plan(board, model, Wish())
    found = plan_json(plan, board, {})
    assert found["fits"] is False
    assert found["shortfall_bytes"] == plan.shortfall_bytes > 0


def test_a_wish_that_was_not_granted_and_a_model_that_cannot_run_are_said() -> None:
    board = device_named("orin-nx-16gb")
    plan = dataclasses.replace(
        cosmos_on("orin-nx-16gb"), concession=Concession("4 requests", "2 requests", 10), unsupported="No FP8 here."
    )
    found = plan_json(plan, board, {})
    assert found["wish"] == {"met": False, "wished": "4 requests", "planned": "2 requests", "missing_bytes": 10}
    assert found["unsupported"] == "No FP8 here."


def test_every_number_has_a_reason() -> None:
    subjects = {reason.subject for reason in cosmos_on("orin-nx-16gb").reasons}
    numbers = {name.removesuffix("_bytes") for name in MEMORY - {"total_bytes"}}
    numbers |= {"max_model_len", "visual_tokens", "prompt_tokens", "answer_tokens", "image_max_pixels", "concurrency"}
    assert numbers <= subjects
