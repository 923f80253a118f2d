"""A plan for people (a table with a reason for every number) and for programs (the JSON of docs/design.md)."""

from collections.abc import Mapping
from typing import Any

from vedette.device.facts import Device
from vedette.plan.plan import Plan
from vedette.plan.reasons import gib

BAR_WIDTH = 60
PARTS = (
    ("weights", "weights"),
    ("kv_cache", "KV cache"),
    ("activation", "activation"),
    ("vision_activation", "vision"),
    ("cuda_graph", "graphs"),
    ("runtime", "CUDA"),
    ("host", "processes"),
    ("reserve", "reserve"),
)
LABELS = dict(PARTS) | {
    "available": "available",
    "max_model_len": "context",
    "concurrency": "requests at once",
    "image_max_pixels": "picture pixels",
    "visual_tokens": "visual tokens",
    "prompt_tokens": "prompt tokens",
    "answer_tokens": "answer tokens",
    "gpu_memory_utilization": "start-up gate",
    "reasoning_parser": "reasoning",
}


def explain_plan(plan: Plan) -> str:
    """Lines for a terminal: does it fit, what goes where, and why."""
    verdict = "fits" if plan.fits else f"does not fit, needs {gib(plan.shortfall_bytes)} more"
    total = f"{gib(plan.memory.total_bytes)} of {gib(plan.memory.available_bytes)} available"
    lines = [f"{plan.model_name} on {plan.device_name}: {verdict}", "", f"memory  {total}", _bar(plan), ""]
    names = [LABELS.get(reason.subject, reason.subject) for reason in plan.reasons]
    wide, value_wide = max(map(len, names)), max(len(reason.value) for reason in plan.reasons)
    for name, reason in zip(names, plan.reasons, strict=True):
        mark = "" if reason.basis.value == "computed" else f" ({reason.basis.value})"
        lines.append(f"  {name:<{wide}}  {reason.value:>{value_wide}}  {reason.why}{mark}")
    if plan.speed.decode_tokens_per_s_ceiling is not None:
        lines += ["", f"At most {plan.speed.decode_tokens_per_s_ceiling:.0f} tokens/s: the memory's bandwidth sets that."]
    return "\n".join(lines)


def _bar(plan: Plan) -> str:
    """The memory as one bar: a letter for each part, a dot for what is left."""
    shared = plan.memory.host_available_bytes is None
    sizes = {label: getattr(plan.memory, f"{name}_bytes") for name, label in PARTS if shared or name != "host"}
    scale = BAR_WIDTH / max(1, plan.memory.available_bytes, plan.memory.total_bytes)
    bar, done = "", 0
    for label, size in sizes.items():
        done += size
        bar += label[0].upper() * max(0, round(done * scale) - len(bar))
    return "        " + bar.ljust(round(plan.memory.available_bytes * scale), ".")


def plan_json(plan: Plan, device: Device, engine: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as other tools may rely on it; bytes throughout. engine: kind, version, argv and env."""
    memory, context = plan.memory, plan.context
    found: dict[str, Any] = {
        "model": plan.model_name,
        "device": {
            "name": device.name,
            "memory_total_bytes": device.memory_total_bytes,
            "memory_available_bytes": device.memory_available_bytes,
            "assumed": device.assumed,
        },
        "engine": dict(engine),
        "fits": plan.fits,
        "memory": {f"{name}_bytes": getattr(memory, f"{name}_bytes") for name, _ in PARTS}
        | {"total_bytes": memory.total_bytes, "available_bytes": memory.available_bytes},
        "context": {
            "max_model_len": context.max_model_len,
            "visual_tokens": context.visual_tokens,
            "prompt_tokens": context.prompt_tokens,
            "answer_tokens": context.answer_tokens,
            "image_max_pixels": context.image_max_pixels,
            "concurrency": context.concurrency,
        },
        "speed": {"decode_tokens_per_s_ceiling": plan.speed.decode_tokens_per_s_ceiling},
        "reasons": [
            {"subject": reason.subject, "value": reason.value, "why": reason.why, "basis": reason.basis.value}
            for reason in plan.reasons
        ],
    }
    if not plan.fits:
        found["shortfall_bytes"] = plan.shortfall_bytes
    return found
