"""Several models on one device, for people: one bar for all, a row for each, and the models that must take turns."""

from collections.abc import Sequence

import click

from vedette.language.columns import clip, columns, pad
from vedette.language.foreign_text import plain
from vedette.language.message import Message
from vedette.plan.plan import Plan
from vedette.plan.side_by_side import Room
from vedette.report.bars import Part, bar
from vedette.report.command import command_lines, split_arguments
from vedette.report.concession import concession_message
from vedette.report.labels import LABELS
from vedette.report.paper import Paper, right
from vedette.units import size

_HUES = (33, 208, 70, 134, 220, 44, 168)
_COLUMNS = (
    LABELS["weights"],
    LABELS["kv_cache"],
    LABELS["total"],
    Message("report.column.context"),
    Message("report.column.requests"),
    Message("report.column.speed"),
)
_NAME_COLUMNS = 24


def explain_packing(
    together: Sequence[tuple[Plan, Sequence[str]]], in_turns: Sequence[Plan], room: Room, paper: Paper
) -> str:
    """Return the whole packing as text. together: each plan with its engine's arguments."""
    plans = [plan for plan, _ in together]
    taken = sum(plan.memory.total_bytes for plan in plans) + room.reserve_bytes
    verdict = paper.say(_verdict(plans, in_turns, room.available_bytes - taken))
    sections = [[paper.mark(verdict, not in_turns), *paper.notes(_concessions(plans))]]
    if plans:
        used = Message("report.memory_used", total_bytes=taken, available_bytes=room.available_bytes, ram=None)
        memory = paper.heading(Message("report.heading.memory"), used)
        sections.append([memory, *bar(_parts(plans, room), room.available_bytes, paper)])
        sections.append([paper.heading(Message("report.heading.models")), *_table(plans, paper)])
    if in_turns:
        turns = [line for plan in in_turns for line in paper.wrap(_turn(plan), "  ", "    ")]
        sections.append([paper.heading(Message("report.heading.turns"), Message("report.turns")), *turns])
    for plan, arguments in together:
        name = Message("plan.value.name", name=plan.model_name)
        lines = command_lines(*split_arguments(arguments), {}, paper.columns)
        sections.append([paper.heading(Message("report.heading.flags"), name), *lines])
    return "\n\n".join("\n".join(lines) for lines in sections)


def _verdict(plans: Sequence[Plan], in_turns: Sequence[Plan], left_bytes: int) -> Message:
    device, models, wanted = (*plans, *in_turns)[0].device_name, len(plans), len(plans) + len(in_turns)
    if not in_turns:
        return Message("report.all_fit", device=device, models=models, left_bytes=left_bytes)
    if not plans:
        return Message("report.none_fits", device=device)
    if models == 1:
        return Message("report.one_fits", device=device, wanted=wanted)
    return Message("report.some_fit", device=device, wanted=wanted, models=models)


def _concessions(plans: Sequence[Plan]) -> list[Message]:
    """Return the wishes that are not granted beside the other models."""
    return [
        Message("report.of_model", model=plan.model_name, text=concession_message(plan.concession))
        for plan in plans
        if plan.concession
    ]


def _parts(plans: Sequence[Plan], room: Room) -> list[Part]:
    """Return one part for each model's engine, and one for the memory that is kept free."""
    found = []
    for index, plan in enumerate(plans):
        letter, hue = chr(ord("A") + index), _HUES[index % len(_HUES)]
        name = Message("plan.value.name", name=_short_name(plan))
        found.append(Part(name, letter, hue, _own_bytes(plan), _size(_own_bytes(plan))))
    reserve = room.reserve_bytes + sum(plan.memory.reserve_bytes for plan in plans)
    return [*found, Part(LABELS["reserve"], "r", 245, reserve, _size(reserve))]


def _own_bytes(plan: Plan) -> int:
    """Return the memory of the model's engine. What the plans keep free is shown for all of them together."""
    return plan.memory.total_bytes - plan.memory.reserve_bytes


def _table(plans: Sequence[Plan], paper: Paper) -> list[str]:
    width = max(8, min(14, (paper.columns - 2 - _NAME_COLUMNS) // len(_COLUMNS)))
    head = " " * (2 + _NAME_COLUMNS) + "".join(right(paper.say(name), width) for name in _COLUMNS)
    lines = [click.style(head, dim=True)]
    for plan in plans:
        speed = plan.speed.decode_tokens_per_s or plan.speed.decode_tokens_per_s_ceiling
        row = (
            size(plan.memory.weights_bytes).removesuffix(" GiB"),
            size(plan.memory.kv_cache_bytes).removesuffix(" GiB"),
            size(_own_bytes(plan)).removesuffix(" GiB"),
            f"{plan.context.max_model_len:,}",
            str(plan.context.concurrency),
            "–" if speed is None else f"{speed:,.0f}",
        )
        name = plain(_short_name(plan))
        if columns(name) > _NAME_COLUMNS:
            name = f"{clip(name, _NAME_COLUMNS - 1)}…"
        lines.append(f"  {pad(name, _NAME_COLUMNS)}" + "".join(right(value, width) for value in row))
    notes = paper.wrap(Message("report.table_notes"), "  ")
    return [*lines, *(click.style(line, dim=True) for line in notes)]


def _turn(plan: Plan) -> Message:
    """Return how one model stands that does not fit beside the others."""
    if plan.unsupported is not None:
        text = Message("report.cannot_run_here", why=plan.unsupported)
    elif plan.fits:
        total_bytes, context = plan.memory.total_bytes, plan.context.max_model_len
        text = Message("report.fits_alone", total_bytes=total_bytes, context=context)
    else:
        text = Message("report.does_not_fit_alone", missing_bytes=plan.shortfall_bytes)
    return Message("report.of_model", model=plan.model_name, text=text)


def _short_name(plan: Plan) -> str:
    return plan.model_name.rpartition("/")[2]


def _size(size_bytes: int) -> Message:
    return Message("plan.value.size", size_bytes=size_bytes)
