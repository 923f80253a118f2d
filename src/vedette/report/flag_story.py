"""One flag explained: what it does, why it has its value, and what another value would cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from vedette.errors import VedetteError
from vedette.language.columns import pad
from vedette.language.message import Message, message_json, say
from vedette.plan.plan import Basis, Plan, Wish
from vedette.report.command import Flag, split_arguments, typed_lines
from vedette.report.flag_table import FLAGS
from vedette.report.labels import label
from vedette.report.paper import Paper
from vedette.units import MIB

TITLE_COLUMNS = 15
EQUAL_BYTES = 4 * MIB
"""Smaller differences of memory are shown as none."""


@dataclass(frozen=True)
class NumberedReason:
    """One line of "why"; value and basis are None for a flag that no number of the plan decides."""

    number: int
    subject: str
    value: Message | None
    why: Message
    basis: Basis | None


@dataclass(frozen=True)
class Neighbour:
    """Another value of a flag."""

    value: int
    difference_bytes: int | None
    """More memory than the plan takes (less, if negative); None if there is no such plan."""
    effect: Message
    """What else changes, or why there is no such plan."""


@dataclass(frozen=True)
class FlagStory:
    """One flag explained for one plan."""

    flag: str
    value: str | None
    """None where this plan does not set the flag; `why` then says what holds instead. Empty for a switch."""
    does: Message
    why: Message | None
    basis: Basis | None
    number: int | None
    """Of the reason, in the order of `vedette plan`."""
    moved_by: str | None
    """Field of `Wish` that changes it."""
    neighbours: tuple[Neighbour, ...]


def numbered_reasons(plan: Plan, flags: Sequence[Flag]) -> list[NumberedReason]:
    """Return the plan's reasons, then those of flags that no number of the plan decides."""
    subjects = {reason.subject for reason in plan.reasons}
    found = [
        NumberedReason(number, reason.subject, reason.value, reason.why, reason.basis)
        for number, reason in enumerate(plan.reasons, 1)
    ]
    for flag in flags:
        facts = FLAGS.get(flag.name)
        if facts and facts.always and not subjects.intersection(facts.subjects):
            found.append(NumberedReason(len(found) + 1, flag.name, None, facts.always, None))
    return found


def reason_behind(name: str, reasons: Sequence[NumberedReason]) -> NumberedReason | None:
    """Return the nearest reason of a flag, if any."""
    subjects = FLAGS[name].subjects if name in FLAGS else ()
    by_subject = {reason.subject: reason for reason in reversed(reasons)}
    return next((by_subject[subject] for subject in (*subjects, name) if subject in by_subject), None)


def flag_story(
    name: str, plan: Plan, arguments: Sequence[str], wish: Wish, replan: Callable[[Wish], Plan]
) -> FlagStory:
    """Explain a flag of a plan. arguments: of the engine. replan: makes the plan of another wish."""
    _, flags = split_arguments(arguments)
    flag = next((flag for flag in flags if flag.name == name), None)
    reason = reason_behind(name, numbered_reasons(plan, flags))
    found = neighbours(name, plan, wish, replan) if flag else ()
    return FlagStory(
        flag=name,
        value=" ".join(flag.values) if flag else None,
        does=FLAGS[name].does,
        why=reason.why if reason else None,
        basis=reason.basis if reason else None,
        number=reason.number if reason else None,
        moved_by=FLAGS[name].wish if found else None,
        neighbours=found,
    )


def neighbours(name: str, plan: Plan, wish: Wish, replan: Callable[[Wish], Plan]) -> tuple[Neighbour, ...]:
    """Return the plans with half and with double of the wish that changes a flag, all else equal.

    Empty where no wish changes it, or the plan has no such number.
    """
    field = FLAGS[name].wish
    present = _pinned(plan, wish)
    now: int | None = getattr(present, field) if field else None
    if field is None or not now:
        return ()
    values = [value for value in (now // 2, now * 2) if value > 0]
    wishes: list[dict[str, Any]] = [{field: value} for value in values]
    return tuple(_neighbour(plan, replace(present, **other), field, replan) for other in wishes)


def story_json(story: FlagStory) -> dict[str, Any]:
    """Return one flag's story for programs, each sentence in English and as its message."""
    return {
        "flag": story.flag,
        "given": story.value is not None,
        "value": story.value,
        "does": say(story.does),
        "does_message": message_json(story.does),
        "why": say(story.why) if story.why else None,
        "message": message_json(story.why) if story.why else None,
        "basis": story.basis.value if story.basis else None,
        "reason": story.number,
        "moved_by": story.moved_by,
        "neighbours": [
            {
                "value": each.value,
                "memory_difference_bytes": each.difference_bytes,
                "said": say(each.effect),
                "message": message_json(each.effect),
            }
            for each in story.neighbours
        ],
    }


def explain_flag(story: FlagStory, paper: Paper) -> str:
    """Return one flag's story as text."""
    title = typed_lines(Flag(story.flag, (story.value,) if story.value else ()), paper.columns)
    lines = [
        click.style(title[0], bold=True),
        *title[1:],
        "",
        *_paragraph(Message("report.does"), story.does, paper),
        *_paragraph(Message("report.why"), _why(story), paper),
    ]
    costs = [_cost(story.moved_by or "", neighbour) for neighbour in story.neighbours]
    if not costs and story.value is not None:
        costs = [Message("report.no_wish")]
    for index, cost in enumerate(costs):
        lines += _paragraph(None if index else Message("report.to_change"), cost, paper)
    return "\n".join(lines)


def _pinned(plan: Plan, wish: Wish) -> Wish:
    """Return a wish for exactly this plan, so that one change of it changes nothing else."""
    context = plan.context
    return replace(
        wish,
        max_model_len=context.max_model_len,
        concurrency=context.concurrency,
        images_per_request=context.images_per_request,
        image_max_pixels=context.image_max_pixels,
    )


def _neighbour(plan: Plan, wish: Wish, field: str, replan: Callable[[Wish], Plan]) -> Neighbour:
    value: int = getattr(wish, field)
    try:
        other = replan(wish)
    except VedetteError as error:
        return Neighbour(value, None, error.message)
    if other.concession is not None:
        missing_bytes = other.concession.missing_bytes
        beyond = plan.memory.available_bytes - plan.memory.total_bytes + missing_bytes
        return Neighbour(value, beyond, Message("report.neighbour_missing", missing_bytes=missing_bytes))
    difference = other.memory.total_bytes - plan.memory.total_bytes
    if not other.fits:
        return Neighbour(value, difference, Message("report.neighbour_missing", missing_bytes=other.shortfall_bytes))
    return Neighbour(value, difference, _changes(plan, other, field))


def _changes(plan: Plan, other: Plan, field: str) -> Message:
    """Return what differs in the context of another plan, apart from `field`."""
    names = ("max_model_len", "concurrency", "visual_tokens", "prompt_tokens", "answer_tokens")
    changed = tuple(
        Message("report.change", label=label(name), before=before, after=after)
        for name in names
        for before, after in [(getattr(plan.context, name), getattr(other.context, name))]
        if name != field and before != after
    )
    return Message("report.changes", changes=changed) if changed else Message("report.nothing_changes")


def _why(story: FlagStory) -> Message:
    if story.why is not None:
        why = story.why
    elif story.value is not None:
        why = Message("report.follows")
    else:
        why = Message("report.vllm_default")
    if story.value is None:
        why = Message("report.not_given", why=why)
    if story.number is None:
        return why
    if story.basis is Basis.COMPUTED:
        return Message("report.why_computed", why=why, number=story.number)
    if story.basis is Basis.ASSUMED:
        return Message("report.why_assumed", why=why, number=story.number)
    if story.basis is Basis.CALIBRATED:
        return Message("report.why_calibrated", why=why, number=story.number)
    return Message("report.why_numbered", why=why, number=story.number)


def _cost(moved_by: str, neighbour: Neighbour) -> Message:
    difference_bytes, name, value = neighbour.difference_bytes, label(moved_by), neighbour.value
    if difference_bytes is None:
        return Message("report.cost", label=name, value=value, effect=neighbour.effect)
    memory = memory_difference(difference_bytes)
    return Message("report.cost_with_memory", label=name, value=value, memory=memory, effect=neighbour.effect)


def memory_difference(difference_bytes: int) -> Message:
    """Return a difference of memory: `0.25 GiB more`, `no more memory`."""
    if abs(difference_bytes) < EQUAL_BYTES:
        return Message("report.same_memory")
    if difference_bytes > 0:
        return Message("report.more_memory", size_bytes=difference_bytes)
    return Message("report.less_memory", size_bytes=-difference_bytes)


def _paragraph(title: Message | None, text: Message, paper: Paper) -> list[str]:
    indent = " " * TITLE_COLUMNS
    first = pad(f"  {paper.say(title)}", TITLE_COLUMNS) if title else indent
    return paper.wrap(text, first, indent)
