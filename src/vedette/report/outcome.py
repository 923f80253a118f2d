"""What a plan predicted and what its start then took. Pure."""

from dataclasses import dataclass
from typing import Any

import click

from vedette.language.columns import columns, pad
from vedette.language.message import Message
from vedette.plan.calibration import ROUNDING_BYTES, SPARE_LIBRARIES_BYTES, Calibration
from vedette.plan.plan import Backend, Plan
from vedette.report.labels import LABELS
from vedette.report.paper import Paper, right
from vedette.units import size

_LABELS = {
    "weights": LABELS["weights"],
    "KV cache": LABELS["kv_cache"],
    "activation": LABELS["activation"],
    "processes": LABELS["host"],
    "graphs": LABELS["cuda_graph"],
    "CUDA": LABELS["runtime"],
    "total": LABELS["total"],
    "ready after": Message("report.label.ready_after"),
    "decoding": Message("report.label.decoding"),
}
"""By `Outcome.name`."""


@dataclass(frozen=True)
class Outcome:
    """One figure; `unit` is `bytes`, `s` or `tokens/s`. None is what was not predicted, or not measured."""

    name: str
    """Stable, for programs."""
    unit: str
    predicted: float | None
    measured: float | None
    note: Message | None = None


def outcomes(plan: Plan, calibration: Calibration) -> list[Outcome]:
    """Return predicted and measured figures, part by part.

    On a CPU vLLM reports only the KV cache. The rest can only be seen as memory of its processes, with libraries that
    a plan does not count because they can be read again.
    """
    memory, reported, speed = plan.memory, calibration.reported, plan.speed
    cpu = plan.settings.backend is Backend.CPU
    activation = memory.activation_bytes + memory.vision_activation_bytes
    inside, libraries = (Message("report.note.in_processes"), SPARE_LIBRARIES_BYTES) if cpu else (None, 0)
    found = [
        Outcome("weights", "bytes", memory.weights_bytes, reported.model_weights_bytes, inside),
        Outcome("KV cache", "bytes", memory.kv_cache_bytes, reported.kv_cache_bytes, inside),
        Outcome("activation", "bytes", activation, reported.activation_bytes, inside),
    ]
    if cpu:
        held = memory.host_bytes + memory.weights_bytes + libraries
        found.append(Outcome("processes", "bytes", held, calibration.host_bytes, Message("report.note.used_cache")))
    else:
        outside = calibration.outside_bytes
        found += [
            Outcome("graphs", "bytes", memory.cuda_graph_bytes, reported.cuda_graph_bytes),
            Outcome("CUDA", "bytes", memory.runtime_bytes, outside, Message("report.note.beyond")),
            Outcome("processes", "bytes", memory.host_bytes, calibration.host_bytes, Message("report.note.in_ram")),
        ]
    total = memory.total_bytes - memory.reserve_bytes + libraries
    expected = speed.decode_tokens_per_s
    return [
        *found,
        Outcome("total", "bytes", total, _held(plan, calibration), Message("report.note.at_rest")),
        Outcome("ready after", "s", None, sum(calibration.phase_s.values()) or None),
        Outcome(
            "decoding",
            "tokens/s",
            expected or speed.decode_tokens_per_s_ceiling,
            calibration.decode_tokens_per_s,
            Message("report.note.short_answer") if expected else Message("report.note.ceiling"),
        ),
    ]


def _held(plan: Plan, calibration: Calibration) -> int | None:
    """Return all that the start took of the memory that the plan is about."""
    if plan.settings.backend is Backend.CPU:
        return calibration.host_bytes
    if plan.memory.host_available_bytes is not None:
        return calibration.device_bytes
    if calibration.device_bytes is None or calibration.host_bytes is None:
        return None
    return calibration.device_bytes + calibration.host_bytes


def outcomes_json(found: list[Outcome]) -> list[dict[str, Any]]:
    """Return the outcomes for programs."""
    return [
        {"name": each.name, "unit": each.unit, "predicted": each.predicted, "measured": each.measured} for each in found
    ]


def explain_outcomes(found: list[Outcome], paper: Paper) -> str:
    """Return the outcomes as a table, each with its note where the paper is wide enough."""
    heads = [paper.say(message) for message in (Message("report.predicted"), Message("report.measured"))]
    off_by = right(paper.say(Message("report.off_by")), 9)
    lines = [click.style(" " * 14 + "".join(right(head, 16) for head in heads) + off_by, bold=True)]
    for each in found:
        predicted, measured = (right(_shown(value, each.unit), 16) for value in (each.predicted, each.measured))
        row = f"  {pad(paper.say(_LABELS[each.name]), 12)}{predicted}{measured}{_off(each):>9}"
        note = f"  {paper.say(each.note)}" if each.note else ""
        fits = columns(row) + columns(note) <= paper.columns
        lines.append(row + click.style(note, dim=True) if note and fits else row.rstrip())
    return "\n".join(lines)


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return size(value) if unit == "bytes" else f"{value:,.1f} {unit}"


def _off(each: Outcome) -> str:
    if not each.predicted or each.measured is None:
        return ""
    if each.unit == "bytes" and abs(each.measured - each.predicted) <= ROUNDING_BYTES:
        return "±0%"
    return f"{(each.measured - each.predicted) / each.predicted:+.0%}"
