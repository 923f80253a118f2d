"""A plan for programs: the JSON of docs/design.md."""

from collections.abc import Mapping
from typing import Any

from vedette.device.device import Device
from vedette.plan.plan import Plan

MEMORY_PARTS = (
    "weights",
    "kv_cache",
    "activation",
    "vision_activation",
    "cuda_graph",
    "runtime",
    "host",
    "reserve",
)
"""The parts of `plan.Memory`, whose fields end in `_bytes`."""


def plan_json(plan: Plan, device: Device, engine: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as other tools may rely on it; bytes throughout. engine: kind, version, argv and env."""
    memory, context, speed = plan.memory, plan.context, plan.speed
    found: dict[str, Any] = {
        "model": plan.model_name,
        "device": plan_device_json(device),
        "engine": dict(engine),
        "fits": plan.fits,
        "memory": {f"{name}_bytes": getattr(memory, f"{name}_bytes") for name in MEMORY_PARTS}
        | {"total_bytes": memory.total_bytes, "available_bytes": memory.available_bytes},
        "context": {
            "max_model_len": context.max_model_len,
            "visual_tokens": context.visual_tokens,
            "images_per_request": context.images_per_request,
            "prompt_tokens": context.prompt_tokens,
            "answer_tokens": context.answer_tokens,
            "image_max_pixels": context.image_max_pixels,
            "concurrency": context.concurrency,
        },
        "speed": {
            "decode_tokens_per_s_ceiling": speed.decode_tokens_per_s_ceiling,
            "decode_tokens_per_s": speed.decode_tokens_per_s,
            "first_token_ms_floor": speed.first_token_ms_floor,
        },
        "wish": _wish_json(plan),
        "reasons": [
            {"subject": reason.subject, "value": reason.value, "why": reason.why, "basis": reason.basis.value}
            for reason in plan.reasons
        ],
    }
    if not plan.fits:
        found["shortfall_bytes"] = plan.shortfall_bytes
    if plan.unsupported is not None:
        found["unsupported"] = plan.unsupported
    return found


def plan_device_json(device: Device) -> dict[str, Any]:
    """The device as a plan's JSON has it."""
    return {
        "name": device.name,
        "memory_total_bytes": device.memory_total_bytes,
        "memory_available_bytes": device.memory_available_bytes,
        "assumed": device.assumed,
    }


def _wish_json(plan: Plan) -> dict[str, Any]:
    given_up = plan.concession
    if given_up is None:
        return {"met": plan.fits}
    return {
        "met": False,
        "wished": given_up.wished,
        "planned": given_up.planned,
        "missing_bytes": given_up.missing_bytes,
    }
