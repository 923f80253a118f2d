"""Several models on one device, for people: one bar for all, a row for each, and who can only take turns."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import click

from vedette.plan.plan import Plan
from vedette.report.bars import Paper, Part, bar
from vedette.report.explain import concession_sentence, flag_lines, heading
from vedette.report.flag_story import split_arguments
from vedette.units import missing_size, size

_HUES = (33, 208, 70, 134, 220, 44, 168)
_COLUMNS = ("weights", "KV cache", "total", "context", "requests", "tokens/s")
_NAME_COLUMNS = 24


@dataclass(frozen=True)
class Room:
    """The memory of the device that several models share."""

    available_bytes: int
    reserve_bytes: int
    """Kept free once for all of them."""


def explain_packing(
    together: Sequence[tuple[Plan, Sequence[str]]], in_turns: Sequence[Plan], room: Room, paper: Paper
) -> str:
    """The whole packing. together: each plan with its engine's arguments."""
    plans = [plan for plan, _ in together]
    taken = sum(plan.memory.total_bytes for plan in plans) + room.reserve_bytes
    sections = [[_verdict(plans, in_turns, room.available_bytes - taken), *_concessions(plans, paper)]]
    if plans:
        memory = f"{size(taken)} of the {size(room.available_bytes)} available"
        sections.append([heading("Memory", memory), *bar(_parts(plans, room), room.available_bytes, paper)])
        sections.append([heading("Models", ""), *_table(plans, paper)])
    if in_turns:
        turns = [line for plan in in_turns for line in _turn(plan, paper)]
        sections.append([heading("Turns", "each of these alone would have the whole device"), *turns])
    for plan, arguments in together:
        lines = flag_lines(*split_arguments(arguments), [], paper)
        sections.append([heading("Flags", plan.model_name), *lines])
    return "\n\n".join("\n".join(lines) for lines in sections)


def _verdict(plans: Sequence[Plan], in_turns: Sequence[Plan], left_bytes: int) -> str:
    device = (*plans, *in_turns)[0].device_name
    if not in_turns:
        return (
            click.style("✓ ", fg="green") + f"{device}: {len(plans)} models fit side by side, {size(left_bytes)} left"
        )
    cross = click.style("✗ ", fg="red")
    if not plans:
        return cross + f"{device}: none of these models fits"
    wanted = len(plans) + len(in_turns)
    fit = "only one fits" if len(plans) == 1 else f"only {len(plans)} fit side by side"
    return cross + f"{device}: of {wanted} models {fit}"


def _concessions(plans: Sequence[Plan], paper: Paper) -> list[str]:
    """What was asked for and does not fit beside the others."""
    told = [f"{plan.model_name}: {concession_sentence(plan.concession)}" for plan in plans if plan.concession]
    lines = [line for sentence in told for line in textwrap.wrap(sentence, paper.columns - 4)]
    return [f"  {click.style(line, fg='yellow')}" for line in lines]


def _parts(plans: Sequence[Plan], room: Room) -> list[Part]:
    """One part for each model with all that its engine takes, and one for what is kept free."""
    found = []
    for index, plan in enumerate(plans):
        own_bytes = _own_bytes(plan)
        name = plan.model_name.rpartition("/")[2]
        found.append(Part(name, chr(ord("A") + index), _HUES[index % len(_HUES)], own_bytes, size(own_bytes)))
    reserve = room.reserve_bytes + sum(plan.memory.reserve_bytes for plan in plans)
    return [*found, Part("reserve", "r", 245, reserve, size(reserve))]


def _own_bytes(plan: Plan) -> int:
    """What the model's engine takes; what its plan keeps free is shown for all of them together."""
    return plan.memory.total_bytes - plan.memory.reserve_bytes


def _table(plans: Sequence[Plan], paper: Paper) -> list[str]:
    width = max(8, min(14, (paper.columns - 2 - _NAME_COLUMNS) // len(_COLUMNS)))
    head = " " * (2 + _NAME_COLUMNS) + "".join(f"{name:>{width}}" for name in _COLUMNS)
    lines = [click.style(head, dim=True)]
    for plan in plans:
        ceiling = plan.speed.decode_tokens_per_s or plan.speed.decode_tokens_per_s_ceiling
        row = (
            size(plan.memory.weights_bytes).removesuffix(" GiB"),
            size(plan.memory.kv_cache_bytes).removesuffix(" GiB"),
            size(_own_bytes(plan)).removesuffix(" GiB"),
            f"{plan.context.max_model_len:,}",
            str(plan.context.concurrency),
            "–" if ceiling is None else f"{ceiling:,.0f}",
        )
        name = plan.model_name.rpartition("/")[2]
        short = name if len(name) <= _NAME_COLUMNS else f"{name[: _NAME_COLUMNS - 1]}…"
        lines.append(f"  {short:<{_NAME_COLUMNS}}" + "".join(f"{value:>{width}}" for value in row))
    return [*lines, click.style("  sizes in GiB; tokens/s of one request while the others rest", dim=True)]


def _turn(plan: Plan, paper: Paper) -> list[str]:
    """One model that does not fit beside the others."""
    needs = size(plan.memory.total_bytes)
    if plan.unsupported is not None:
        told = f"cannot run here. {plan.unsupported}"
    elif plan.fits:
        told = f"fits alone: {needs}, context {plan.context.max_model_len:,}"
    else:
        told = f"does not fit even alone: {missing_size(plan.shortfall_bytes)} are missing"
    told = f"{plan.model_name}: {told}"
    return textwrap.wrap(told, paper.columns, initial_indent="  ", subsequent_indent="    ")
