"""A plan in words and as JSON."""

import json
from pathlib import Path

from vedette.device.catalogue import device_named
from vedette.models.store import find_model, read_source
from vedette.plan.explain import explain_plan, plan_json
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish

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
    assert set(found) == {"model", "device", "engine", "fits", "memory", "context", "speed", "reasons"}
    assert found["model"] == "nvidia/Cosmos-Reason2-2B"
    assert found["engine"] == engine
    assert found["device"]["assumed"] is True
    assert set(found["memory"]) == MEMORY
    parts = sum(found["memory"][name] for name in MEMORY - {"total_bytes", "available_bytes"})
    assert parts == found["memory"]["total_bytes"] <= found["memory"]["available_bytes"]
    assert set(found["context"]) == {
        "max_model_len", "visual_tokens", "prompt_tokens", "answer_tokens", "image_max_pixels", "concurrency",
    }  # fmt: skip
    assert all(set(reason) == {"subject", "value", "why", "basis"} for reason in found["reasons"])
    assert {reason["basis"] for reason in found["reasons"]} <= {"computed", "assumed", "calibrated"}


def test_json_of_a_plan_that_does_not_fit_says_what_is_missing() -> None:
    plan = cosmos_on("orin-nano-8gb")
    found = plan_json(plan, device_named("orin-nano-8gb"), {})
    assert found["fits"] is False
    assert found["shortfall_bytes"] == plan.shortfall_bytes > 0


def test_every_number_has_a_reason() -> None:
    subjects = {reason.subject for reason in cosmos_on("orin-nx-16gb").reasons}
    numbers = {name.removesuffix("_bytes") for name in MEMORY - {"total_bytes"}}
    numbers |= {"max_model_len", "visual_tokens", "prompt_tokens", "answer_tokens", "image_max_pixels", "concurrency"}
    assert numbers <= subjects


def test_the_table_for_people() -> None:
    text = explain_plan(cosmos_on("orin-nano-8gb"))
    assert text.startswith("nvidia/Cosmos-Reason2-2B on Jetson Orin Nano 8GB: does not fit, needs ")
    assert "GiB more" in text
    assert "0.25 GiB of position cache" in text
    assert max(map(len, text.splitlines())) < 140
