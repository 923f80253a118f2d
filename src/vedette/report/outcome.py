"""What a plan said against what its start then took. Pure."""

from dataclasses import dataclass
from typing import Any

import click

from vedette.plan.calibration import ROUNDING_BYTES, SPARE_LIBRARIES_BYTES, Calibration
from vedette.plan.plan import Backend, Plan
from vedette.report.bars import Paper
from vedette.units import GIB


@dataclass(frozen=True)
class Outcome:
    """One figure; `unit` is `bytes`, `s` or `tokens/s`. None is what was not predicted, or not measured."""

    name: str
    unit: str
    predicted: float | None
    measured: float | None
    note: str = ""


def outcomes(plan: Plan, calibration: Calibration) -> list[Outcome]:
    """Predicted against measured, part by part.

    On a CPU vLLM tells the KV cache alone; the rest can only be seen as the memory of its processes, with libraries
    that a plan does not count because they can be read again.
    """
    memory, reported, speed = plan.memory, calibration.reported, plan.speed
    cpu = plan.settings.backend is Backend.CPU
    activation = memory.activation_bytes + memory.vision_activation_bytes
    inside, libraries = ("in the processes", SPARE_LIBRARIES_BYTES) if cpu else ("", 0)
    found = [
        Outcome("weights", "bytes", memory.weights_bytes, reported.model_weights_bytes, inside),
        Outcome("KV cache", "bytes", memory.kv_cache_bytes, reported.kv_cache_bytes, inside),
        Outcome("activation", "bytes", activation, reported.activation_bytes, inside),
    ]
    if cpu:
        held = memory.host_bytes + memory.weights_bytes + libraries
        found.append(Outcome("processes", "bytes", held, calibration.host_bytes, "with what was used of the KV cache"))
    else:
        outside = calibration.outside_bytes
        found += [
            Outcome("graphs", "bytes", memory.cuda_graph_bytes, reported.cuda_graph_bytes),
            Outcome("CUDA", "bytes", memory.runtime_bytes, outside, "what the GPU holds beyond the above"),
            Outcome("processes", "bytes", memory.host_bytes, calibration.host_bytes, "in RAM"),
        ]
    total = memory.total_bytes - memory.reserve_bytes + libraries
    return [
        *found,
        Outcome("total", "bytes", total, _held(plan, calibration), "at rest"),
        Outcome("ready after", "s", None, sum(calibration.phase_s.values()) or None),
        Outcome(
            "decoding",
            "tokens/s",
            speed.decode_tokens_per_s or speed.decode_tokens_per_s_ceiling,
            calibration.decode_tokens_per_s,
            "one short answer" + ("" if speed.decode_tokens_per_s else "; predicted is the ceiling"),
        ),
    ]


def _held(plan: Plan, calibration: Calibration) -> int | None:
    """All that the start took of the memory that the plan speaks of."""
    if plan.settings.backend is Backend.CPU:
        return calibration.host_bytes
    if plan.memory.host_available_bytes is not None:
        return calibration.device_bytes
    if calibration.device_bytes is None or calibration.host_bytes is None:
        return None
    return calibration.device_bytes + calibration.host_bytes


def outcomes_json(found: list[Outcome]) -> list[dict[str, Any]]:
    """The outcomes for programs."""
    return [
        {"name": each.name, "unit": each.unit, "predicted": each.predicted, "measured": each.measured} for each in found
    ]


def explain_outcomes(found: list[Outcome], paper: Paper) -> str:
    """The outcomes as a table; a note only where there is room for it."""
    lines = [click.style(f"{'':<14}{'predicted':>16}{'measured':>16}{'off by':>9}", bold=True)]
    for each in found:
        predicted, measured = (_said(value, each.unit) for value in (each.predicted, each.measured))
        row = f"  {each.name:<12}{predicted:>16}{measured:>16}{_off(each):>9}"
        fits = len(row) + len(each.note) + 2 <= paper.columns
        lines.append(row + click.style(f"  {each.note}", dim=True) if each.note and fits else row.rstrip())
    return "\n".join(lines)


def _said(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "bytes":
        return f"{value / GIB:.2f} GiB"
    return f"{value:,.1f} {unit}"


def _off(each: Outcome) -> str:
    if not each.predicted or each.measured is None:
        return ""
    if each.unit == "bytes" and abs(each.measured - each.predicted) <= ROUNDING_BYTES:
        return "±0%"
    return f"{(each.measured - each.predicted) / each.predicted:+.0%}"
