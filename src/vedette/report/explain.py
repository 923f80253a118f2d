"""A plan for people: what goes where, what is left, how it is typed, and a numbered reason for each choice."""

import re
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click

from vedette.plan.formats import weights_format
from vedette.plan.plan import Backend, Basis, Concession, Plan
from vedette.plan.reasons import free_memory, others_sentence
from vedette.report.bars import Paper, Part, bar
from vedette.report.flag_story import Flag, NumberedReason, numbered_reasons, reason_behind, split_arguments
from vedette.units import missing_size, size, size_difference

MEMORY_LEGEND = (
    ("weights", "weights", "W", 33),
    ("kv_cache", "KV cache", "K", 208),
    ("activation", "activation", "A", 70),
    ("vision_activation", "vision", "V", 134),
    ("cuda_graph", "graphs", "G", 220),
    ("runtime", "CUDA", "C", 44),
    ("host", "processes", "P", 168),
    ("reserve", "reserve", "R", 245),
)
"""Part of `plan.Memory`, its label, its letter, its colour."""
LABELS = {name: label for name, label, _, _ in MEMORY_LEGEND} | {
    "available": "available",
    "max_model_len": "context",
    "concurrency": "requests at once",
    "images_per_request": "pictures",
    "image_max_pixels": "picture pixels",
    "visual_tokens": "visual tokens",
    "prompt_tokens": "prompt tokens",
    "answer_tokens": "answer tokens",
    "graphs": "execution",
    "gpu_memory_utilization": "start-up gate",
    "reasoning_parser": "reasoning",
    "max_num_batched_tokens": "tokens a step",
    "chunked_prefill": "chunked prefill",
    "video_frames": "clip frames",
    "kv_cache_dtype": "KV cache type",
    "prefix_caching": "prefix cache",
    "attention_backend": "attention",
    "hf_overrides": "config.json",
    "processor_cache": "picture cache",
}
MARKS = {Basis.COMPUTED: "=", Basis.ASSUMED: "~", Basis.CALIBRATED: "*", None: " "}
_UP_TO_COMMA = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^"])+?(?:, |$)')
"""JSON up to a comma that is in no string."""

MOST_VALUE_COLUMNS = 12
MARKS_SAID = "= computed   ~ assumed   * calibrated"


def explain_plan(plan: Plan, arguments: Sequence[str], paper: Paper) -> str:
    """The whole plan. arguments: as the engine will be started, `vllm serve MODEL --flag value …`."""
    head, flags = split_arguments(arguments)
    reasons = numbered_reasons(plan, flags)
    typed = "as typed, with the number of the reason" if plan.fits else "of the least that would be of use"
    sections = [
        [verdict(plan), *_hints(plan, paper)],
        [heading("Memory", memory_sentence(plan)), *bar(memory_parts(plan), plan.memory.available_bytes, paper)],
        [heading("Context", _context_sentence(plan)), *bar(context_parts(plan), plan.context.max_model_len, paper)],
        _speed_lines(plan, paper),
        [heading("Flags", typed), *flag_lines(head, flags, reasons, paper)],
        [heading("Why", MARKS_SAID), *reason_lines(reasons, paper)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections)


def verdict(plan: Plan) -> str:
    """One line: does it fit?"""
    what = click.style(plan.model_name, bold=True) + f" on {plan.device_name}"
    if plan.unsupported is not None:
        return click.style("✗ ", fg="red") + f"{what}: cannot run"
    if not plan.fits:
        return click.style("✗ ", fg="red") + f"{what}: does not fit, needs {missing_size(plan.shortfall_bytes)} more"
    left = plan.memory.available_bytes - plan.memory.total_bytes
    return click.style("✓ ", fg="green") + f"{what}: fits, {size(left)} left"


def concession_sentence(concession: Concession) -> str:
    """That a wish was not granted: what it would have needed, and what is planned instead."""
    missing = f"{concession.wished} would take {size(concession.missing_bytes)} more"
    return f"Not all that you asked for fits: {missing}; planned: {concession.planned}."


def concession_notes(plan: Plan) -> list[str]:
    """What to say of a plan that fits but grants less than was asked for; nothing where it grants all."""
    if plan.concession is None:
        return []
    others = others_sentence(plan)
    return [concession_sentence(plan.concession), *([f"{others}."] if others else [])]


def _hints(plan: Plan, paper: Paper) -> list[str]:
    """What to know besides the verdict: wishes that were not granted, and what to do if it does not fit."""
    hints = concession_notes(plan) if plan.fits else []
    if plan.concession is not None and not plan.fits:
        missing = size(plan.concession.missing_bytes)
        hints.append(f"This is the least of use; what you asked for ({plan.concession.wished}) needs {missing} more.")
    for reason in plan.reasons:
        if reason.subject == "architecture":
            hints.append(f"{reason.value}: {reason.why}.")
    if plan.unsupported is not None:
        hints.append(plan.unsupported)
        hints.append("→ Choose a checkpoint in another format, or another model.")
    elif not plan.fits:
        lighter = " take a checkpoint in 4 bits if there is one," if _has_plain_weights(plan) else ""
        hints.append(f"→ {free_memory(plan)},{lighter} or name no model: vedette then chooses one that fits.")
    lines = [line for hint in hints for line in textwrap.wrap(hint, paper.columns - 4)]
    return [f"  {click.style(line, fg='yellow')}" for line in lines]


def _has_plain_weights(plan: Plan) -> bool:
    plain = weights_format(None, None).title
    return any(reason.subject == "weights_format" and reason.value == plain for reason in plan.reasons)


def memory_sentence(plan: Plan) -> str:
    """Total and available; beside a discrete GPU, the RAM as well."""
    memory = plan.memory
    than = "of" if memory.total_bytes <= memory.available_bytes else "is more than"
    text = f"{size(memory.total_bytes)} {than} the {size(memory.available_bytes)} available"
    if memory.host_available_bytes is not None:
        text += f"; {size(memory.host_bytes)} of {size(memory.host_available_bytes)} RAM beside the GPU"
    return text


def memory_parts(plan: Plan) -> list[Part]:
    """The parts of the memory that the model lies in."""
    shared = plan.memory.host_available_bytes is None
    return [
        Part(label, letter, hue, part_bytes, size(part_bytes))
        for name, label, letter, hue in MEMORY_LEGEND
        for part_bytes in [getattr(plan.memory, f"{name}_bytes")]
        if shared or name != "host"
    ]


def context_parts(plan: Plan) -> list[Part]:
    """The context as a budget, in tokens: what pictures (or a clip) may take, prompt and answer."""
    context = plan.context
    pictures = context.images_per_request * context.visual_tokens
    rest = context.max_model_len - context.prompt_tokens - context.answer_tokens - pictures
    said = f"{pictures:,}"
    if context.images_per_request > 1:
        said = f"{context.images_per_request} × {context.visual_tokens:,} = {pictures:,}"
    return [
        Part("pictures" if context.images_per_request > 1 else "picture", "V", 134, pictures, said),
        Part("prompt", "P", 33, context.prompt_tokens, f"{context.prompt_tokens:,}"),
        Part("reasoning and answer" if plan.settings.reasoning_parser else "answer", "A", 70, context.answer_tokens,
             f"{context.answer_tokens:,}"),
        Part("kept for a clip" if plan.settings.videos_per_prompt else "spare", "S", 245, rest, f"{rest:,}"),
    ]  # fmt: skip


def speed_sentences(plan: Plan) -> list[str]:
    """What the hardware allows, and what is expected of the engine."""
    speed, found = plan.speed, []
    if speed.decode_tokens_per_s_ceiling is not None:
        found.append(f"at most {_rate(speed.decode_tokens_per_s_ceiling)} for one request: memory bandwidth sets that")
    if speed.decode_tokens_per_s is not None:
        found.append(f"about {_rate(speed.decode_tokens_per_s)} expected, by what this device reached before")
    if speed.first_token_ms_floor is not None:
        what = "with one largest picture" if plan.context.visual_tokens else "of a prompt of full length"
        found.append(f"first token {what} after {speed.first_token_ms_floor:,.0f} ms at the earliest")
    if not found:
        cpu = plan.settings.backend is Backend.CPU
        found.append("not known: " + ("no CPU says its memory's bandwidth" if cpu else "this GPU's bandwidth is not"))
    return found


def flag_lines(
    head: Sequence[str], flags: Sequence[Flag], reasons: Sequence[NumberedReason], paper: Paper
) -> list[str]:
    """The command as one types it, a flag a line, the number of its reason in the margin."""
    lines = [f"      {shlex.join(head)}" + (" \\" if flags else "")]
    for flag in flags:
        reason = reason_behind(flag, reasons)
        margin = click.style(f"{reason.number if reason else '':>4}", dim=True)
        typed = _typed(flag, paper.columns - 10)
        end = "" if flag is flags[-1] else " \\"
        lines += [f"{margin}    {typed[0]}", *(f"          {line}" for line in typed[1:])]
        lines[-1] += end
    return lines


def _typed(flag: Flag, columns: int) -> list[str]:
    """A flag as a shell takes it; JSON that is too long goes on in the next line, which JSON allows after commas."""
    line = shlex.join((flag.name, *flag.values))
    pieces = _UP_TO_COMMA.findall(line)
    if "".join(pieces) != line:
        return [line]
    lines = [""]
    for piece in pieces:
        if lines[-1].strip() and len(lines[-1] + piece.rstrip()) > columns:
            lines.append("  ")
        lines[-1] += piece
    return [each.rstrip() for each in lines]


def reason_lines(reasons: Sequence[NumberedReason], paper: Paper) -> list[str]:
    """A table: number, what, on what basis, how much, why."""
    names = [LABELS.get(reason.subject, reason.subject.replace("_", " ")) for reason in reasons]
    figures = [(name, reason.value) for name, reason in zip(names, reasons, strict=True) if reason.basis]
    wide = max((len(name) for name, _ in figures), default=0)
    value_wide = max((len(value) for _, value in figures if len(value) <= MOST_VALUE_COLUMNS), default=0)
    lines = []
    for name, reason in zip(names, reasons, strict=True):
        told = f"{name:<{wide}} {MARKS[reason.basis]} {reason.value:>{value_wide}}" if reason.basis else name
        lines += _numbered(reason.number, told, reason.why, wide + value_wide + 11, paper)
    return lines


def _numbered(number: int, told: str, why: str, indent: int, paper: Paper) -> list[str]:
    first, rest = f"{number:>4}  {told}  ", " " * indent
    lines = textwrap.wrap(why, paper.columns, initial_indent=first.ljust(indent), subsequent_indent=rest) or [first]
    return [click.style(lines[0][:4], dim=True) + lines[0][4:], *lines[1:]]


def explain_flag(story: Mapping[str, Any], paper: Paper) -> str:
    """One flag's story (`flagstory.story_json`) in words."""
    title = _typed(Flag(story["flag"], (story["value"],) if story["value"] else ()), paper.columns)
    why = story["why"] or ("it follows from the others" if story["given"] else "vLLM's own default holds")
    if not story["given"]:
        why = f"this plan does not give it: {why}"
    if story["reason"]:
        basis = f", {story['basis']}" if story["basis"] else ""
        why += f" (reason {story['reason']} of `vedette plan`{basis})"
    lines = [
        click.style(title[0], bold=True),
        *title[1:],
        "",
        *_told("does", story["does"], paper),
        *_told("why", why, paper),
    ]
    if story["neighbours"]:
        label = LABELS.get(story["moved_by"], story["moved_by"].replace("_", " "))
        costs = [_cost(label, neighbour) for neighbour in story["neighbours"]]
    else:
        costs = ["no wish moves it by itself"] if story["given"] else []
    for subject, cost in zip(["to change it", *[""] * len(costs)], costs, strict=False):
        lines += _told(subject, cost, paper)
    return "\n".join(lines)


def _cost(label: str, neighbour: Mapping[str, Any]) -> str:
    difference = neighbour["memory_difference_bytes"]
    cost = f"{size_difference(difference)}; " if difference is not None else ""
    return f"{label} {neighbour['value']:,}: {cost}{neighbour['said']}"


def _told(title: str, text: str, paper: Paper) -> list[str]:
    indent = " " * 15
    return textwrap.wrap(text, paper.columns, initial_indent=f"  {title:<13}", subsequent_indent=indent)


def _context_sentence(plan: Plan) -> str:
    count = plan.context.concurrency
    requests = f"{count} requests at once" if count > 1 else "one request at a time"
    return f"{plan.context.max_model_len:,} tokens for {'each of ' if count > 1 else ''}{requests}"


def _rate(tokens_per_s: float) -> str:
    return f"{tokens_per_s:,.0f} tokens/s" if tokens_per_s >= 10 else f"{tokens_per_s:.1f} tokens/s"


def heading(title: str, said: str) -> str:
    """The first line of a section."""
    return f"{click.style(f'{title:<8}', bold=True)} {said}" if said else click.style(title, bold=True)


def _speed_lines(plan: Plan, paper: Paper) -> list[str]:
    """One sentence after the other beside the heading."""
    lines = [line for sentence in speed_sentences(plan) for line in textwrap.wrap(sentence, paper.columns - 9)]
    return [heading("Speed", lines[0]), *(f"         {line}" for line in lines[1:])]
