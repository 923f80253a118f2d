"""A plan for people: what takes the memory, how much remains free, the command, and a reason for each choice."""

from collections.abc import Sequence

import click

from vedette.language.columns import columns, pad
from vedette.language.message import Message
from vedette.plan.formats import PLAIN
from vedette.plan.plan import Backend, Basis, Plan
from vedette.plan.reasons.plan_reasons import free_memory
from vedette.report.bars import Part, bar
from vedette.report.command import command_lines, split_arguments
from vedette.report.concession import concession_notes
from vedette.report.flag_story import NumberedReason, numbered_reasons, reason_behind
from vedette.report.labels import LABELS, label
from vedette.report.paper import Paper, right

MEMORY_LEGEND = (
    ("weights", "W", 33),
    ("kv_cache", "K", 208),
    ("activation", "A", 70),
    ("vision_activation", "V", 134),
    ("cuda_graph", "G", 220),
    ("runtime", "C", 44),
    ("host", "P", 168),
    ("reserve", "R", 245),
)
"""Part of `plan.Memory`, its letter, its colour."""
MARKS = {Basis.COMPUTED: "=", Basis.ASSUMED: "~", Basis.CALIBRATED: "*"}
MAX_VALUE_COLUMNS = 12
"""Longer values do not widen the column of values."""
RATE_WITHOUT_DECIMALS = 10


def explain_plan(plan: Plan, arguments: Sequence[str], paper: Paper) -> str:
    """Return the whole plan as text. arguments: of the engine, `vllm serve MODEL --flag value …`."""
    head, flags = split_arguments(arguments)
    reasons = numbered_reasons(plan, flags)
    numbers = {flag.name: reason.number for flag in flags for reason in [reason_behind(flag.name, reasons)] if reason}
    typed = Message("report.as_typed") if plan.fits else Message("report.smallest_flags")
    memory, context = plan.memory, plan.context
    sections = [
        [paper.mark(paper.say(verdict(plan)), plan.fits), *paper.notes(_notes(plan))],
        [
            paper.heading(Message("report.heading.memory"), _memory_used(plan)),
            *bar(memory_parts(plan), memory.available_bytes, paper),
        ],
        [
            paper.heading(Message("report.heading.context"), _context_used(plan)),
            *bar(context_parts(plan), context.max_model_len, paper),
        ],
        _speed_lines(plan, paper),
        [paper.heading(Message("report.heading.flags"), typed), *command_lines(head, flags, numbers, paper.columns)],
        [paper.heading(Message("report.heading.why"), Message("report.marks")), *reason_lines(reasons, paper)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections)


def verdict(plan: Plan) -> Message:
    """Return whether the plan fits, and how much memory remains or is missing."""
    if plan.unsupported is not None:
        return Message("report.cannot_run", model=plan.model_name, device=plan.device_name)
    if not plan.fits:
        missing_bytes = plan.shortfall_bytes
        return Message(
            "report.does_not_fit", model=plan.model_name, device=plan.device_name, missing_bytes=missing_bytes
        )
    left_bytes = plan.memory.available_bytes - plan.memory.total_bytes
    return Message("report.fits", model=plan.model_name, device=plan.device_name, left_bytes=left_bytes)


def _notes(plan: Plan) -> list[Message]:
    """Return what else a person has to know: wishes that were not granted, and what to do if the plan does not fit."""
    notes = concession_notes(plan) if plan.fits else []
    if plan.concession is not None and not plan.fits:
        given_up = plan.concession
        notes.append(Message("report.smallest_plan", wished=given_up.wished, missing_bytes=given_up.missing_bytes))
    notes += [
        Message("report.unknown_architecture", architecture=reason.value, why=reason.why)
        for reason in plan.reasons
        if reason.subject == "architecture"
    ]
    if plan.unsupported is not None:
        notes += [plan.unsupported, Message("report.choose_format")]
    elif not plan.fits and _has_plain_weights(plan):
        notes.append(Message("report.choose_lighter_model", free=free_memory(plan)))
    elif not plan.fits:
        notes.append(Message("report.choose_model", free=free_memory(plan)))
    return notes


def _has_plain_weights(plan: Plan) -> bool:
    return any(reason.subject == "weights_format" and reason.value == PLAIN for reason in plan.reasons)


def _memory_used(plan: Plan) -> Message:
    """Return used and available memory; beside a discrete GPU, of the RAM as well."""
    memory, ram = plan.memory, None
    if memory.host_available_bytes is not None:
        ram = Message(
            "report.ram_beside_gpu",
            host_bytes=memory.host_bytes,
            host_available_bytes=memory.host_available_bytes,
        )
    total_bytes, available_bytes = memory.total_bytes, memory.available_bytes
    if total_bytes <= available_bytes:
        return Message("report.memory_used", total_bytes=total_bytes, available_bytes=available_bytes, ram=ram)
    return Message("report.memory_exceeded", total_bytes=total_bytes, available_bytes=available_bytes, ram=ram)


def memory_parts(plan: Plan) -> list[Part]:
    """Return the parts of the memory that the model lies in."""
    shared = plan.memory.host_available_bytes is None
    return [
        Part(LABELS[name], letter, hue, part_bytes, Message("plan.value.size", size_bytes=part_bytes))
        for name, letter, hue in MEMORY_LEGEND
        for part_bytes in [getattr(plan.memory, f"{name}_bytes")]
        if shared or name != "host"
    ]


def context_parts(plan: Plan) -> list[Part]:
    """Return the context as a budget in tokens: pictures (or a clip), prompt and answer."""
    context = plan.context
    images, each = context.images_per_request, context.visual_tokens
    pictures = images * each
    rest = context.max_model_len - context.prompt_tokens - context.answer_tokens - pictures
    if images > 1:
        seen = Message("report.part.pictures")
        shown = Message("report.product", pictures=images, tokens=each, total=pictures)
    else:
        seen, shown = Message("report.part.picture"), _count(pictures)
    thinks, clips = plan.settings.reasoning_parser, plan.settings.videos_per_prompt
    answer = Message("report.part.reasoning_and_answer") if thinks else Message("report.part.answer")
    spare = Message("report.part.clip") if clips else Message("report.part.spare")
    prompt = Message("report.part.prompt")
    return [
        Part(seen, "V", 134, pictures, shown),
        Part(prompt, "P", 33, context.prompt_tokens, _count(context.prompt_tokens)),
        Part(answer, "A", 70, context.answer_tokens, _count(context.answer_tokens)),
        Part(spare, "S", 245, rest, _count(rest)),
    ]


def _context_used(plan: Plan) -> Message:
    tokens, requests = plan.context.max_model_len, plan.context.concurrency
    if requests == 1:
        return Message("report.tokens_for_one", tokens=tokens)
    return Message("report.tokens_for_each", tokens=tokens, requests=requests)


def _speed(plan: Plan) -> list[Message]:
    """Return the limits of the hardware, and the expected speed."""
    speed, found = plan.speed, []
    if speed.decode_tokens_per_s_ceiling is not None:
        found.append(Message("report.speed_ceiling", rate=_rate(speed.decode_tokens_per_s_ceiling)))
    if speed.decode_tokens_per_s is not None:
        found.append(Message("report.speed_expected", rate=_rate(speed.decode_tokens_per_s)))
    if speed.first_token_ms_floor is not None and plan.context.visual_tokens:
        found.append(Message("report.first_token_picture", wait_ms=speed.first_token_ms_floor))
    elif speed.first_token_ms_floor is not None:
        found.append(Message("report.first_token_prompt", wait_ms=speed.first_token_ms_floor))
    if found:
        return found
    if plan.settings.backend is Backend.CPU:
        return [Message("report.speed_unknown_cpu")]
    return [Message("report.speed_unknown_gpu")]


def _rate(tokens_per_s: float) -> Message:
    if tokens_per_s >= RATE_WITHOUT_DECIMALS:
        return Message("report.rate", tokens_per_second=tokens_per_s)
    return Message("report.slow_rate", tokens_per_second=tokens_per_s)


def _speed_lines(plan: Plan, paper: Paper) -> list[str]:
    """Return the sentences about speed beside their heading."""
    first, *rest = _speed(plan)
    indent = " " * 9
    lines = paper.wrap(first, indent)
    heading = paper.heading(Message("report.heading.speed"), Message("plan.value.name", name=lines[0][len(indent) :]))
    return [heading, *lines[1:], *(line for message in rest for line in paper.wrap(message, indent))]


def reason_lines(reasons: Sequence[NumberedReason], paper: Paper) -> list[str]:
    """Return a table: number, subject, basis, value, reason."""
    names = [reason.subject if reason.value is None else paper.say(label(reason.subject)) for reason in reasons]
    values = ["" if reason.value is None else paper.say(reason.value) for reason in reasons]
    name_columns = max((columns(name) for name, value in zip(names, values, strict=True) if value), default=0)
    value_columns = max((columns(value) for value in values if columns(value) <= MAX_VALUE_COLUMNS), default=0)
    lines = []
    for name, value, reason in zip(names, values, reasons, strict=True):
        entry = name
        if reason.basis is not None:
            entry = f"{pad(name, name_columns)} {MARKS[reason.basis]} {right(value, value_columns)}"
        lines += _numbered(reason.number, entry, reason.why, name_columns + value_columns + 11, paper)
    return lines


def _numbered(number: int, entry: str, why: Message, indent: int, paper: Paper) -> list[str]:
    lines = paper.wrap(why, pad(f"{number:>4}  {entry}  ", indent), " " * indent)
    return [click.style(lines[0][:4], dim=True) + lines[0][4:], *lines[1:]]


def _count(count: int) -> Message:
    return Message("plan.value.count", count=count)
