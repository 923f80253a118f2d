"""The differences between two plans. Works on plans as JSON, so that saved plans can be compared too."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from vedette.errors import BadInputError
from vedette.language.columns import clip, columns, pad
from vedette.language.message import Message
from vedette.report.command import split_arguments
from vedette.report.labels import label
from vedette.report.paper import Paper, right
from vedette.units import MIB, size

_GROUPS = {
    "memory": Message("report.heading.memory"),
    "context": Message("report.heading.context"),
    "speed": Message("report.heading.speed"),
}
_VALUE_COLUMNS = 19
_CHANGE_COLUMNS = 14


@dataclass(frozen=True)
class Difference:
    """One thing that differs between two plans; None where a plan lacks it."""

    name: str
    """Its place in the JSON (`memory.kv_cache_bytes`), or a flag."""
    a: Any
    b: Any

    @property
    def difference(self) -> float | None:
        """`b` minus `a`, where both are numbers."""
        numbers = [
            value for value in (self.a, self.b) if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        return numbers[1] - numbers[0] if len(numbers) == 2 else None


def parse_plan(text: str, name: str) -> dict[str, Any]:
    """Parse a saved plan. name: of the file, for errors. Raises BadInputError for anything else than a plan."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError("report.not_json", name=name) from error
    if isinstance(found, dict) and "together" in found:
        raise BadInputError("report.several_plans", name=name)
    parts = [found.get(part) if isinstance(found, dict) else None for part in ("device", "engine", *_GROUPS)]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(found.get("model"), str):
        raise BadInputError("report.not_a_plan", name=name)
    argv = found["engine"].get("argv", [])
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise BadInputError("report.plan_without_arguments", name=name)
    return dict(found)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Return what differs, in the order of a plan's page, except for the engine's port and model name."""
    pairs = [("model", a["model"], b["model"]), ("device", a["device"].get("name"), b["device"].get("name"))]
    pairs += [("fits", a.get("fits"), b.get("fits"))]
    pairs += [("shortfall_bytes", a.get("shortfall_bytes"), b.get("shortfall_bytes"))]
    pairs += [("engine.version", a["engine"].get("version"), b["engine"].get("version"))]
    for group in _GROUPS:
        names = dict.fromkeys([*a[group], *b[group]])
        pairs += [(f"{group}.{name}", a[group].get(name), b[group].get(name)) for name in names]
    flags = [_flags(document) for document in (a, b)]
    pairs += [(name, flags[0].get(name), flags[1].get(name)) for name in dict.fromkeys([*flags[0], *flags[1]])]
    return [Difference(name, *values) for name, *values in pairs if values[0] != values[1]]


def _flags(document: Mapping[str, Any]) -> dict[str, str]:
    _, flags = split_arguments(document["engine"].get("argv", []))
    return {flag.name: " ".join(flag.values) for flag in flags if flag.name not in ("--port", "--served-model-name")}


def diff_json(names: tuple[str, str], found: Sequence[Difference]) -> dict[str, Any]:
    """Return the differences for programs. names: of both sides."""
    return {
        "a": names[0],
        "b": names[1],
        "differences": [{"name": each.name, "a": each.a, "b": each.b, "difference": each.difference} for each in found],
    }


def explain_diff(names: tuple[str, str], found: Sequence[Difference], paper: Paper) -> str:
    """Return the differences as a table within the paper's width. names: of both sides."""
    if not found:
        return paper.say(Message("report.same_plan", a=names[0], b=names[1]))
    label_columns = min(36, paper.columns - 2 * _VALUE_COLUMNS - _CHANGE_COLUMNS)
    heads = "".join(right(_short(name, _VALUE_COLUMNS - 2), _VALUE_COLUMNS) for name in names)
    change = right(paper.say(Message("report.difference")), _CHANGE_COLUMNS)
    lines = [click.style(" " * label_columns + heads + change, bold=True)]
    group = None
    for each in found:
        if _group(each.name) != group:
            group = _group(each.name)
            lines += ["", click.style(paper.say(group), bold=True)]
        lines += _row(each, label_columns, paper)
    return "\n".join(lines)


def _group(name: str) -> Message:
    if name.startswith("--"):
        return Message("report.heading.flags")
    return _GROUPS.get(name.partition(".")[0], Message("report.heading.plan"))


def _row(each: Difference, label_columns: int, paper: Paper) -> list[str]:
    values = [_shown(each.name, value, paper) for value in (each.a, each.b)]
    name = paper.say(_label(each.name))
    if max(map(columns, values)) > _VALUE_COLUMNS - 2:
        lines = [line for side, value in zip("ab", values, strict=True) for line in _below(side, value, paper)]
        return [f"  {name}", *lines]
    cells = "".join(right(value, _VALUE_COLUMNS) for value in values)
    change = right(_shown_difference(each), _CHANGE_COLUMNS)
    return [f"  {pad(_short(name, label_columns - 2), label_columns - 2)}{cells}{change}".rstrip()]


def _below(side: str, value: str, paper: Paper) -> list[str]:
    """Return a long value in lines of its own. JSON without spaces is cut where the paper ends."""
    lines, indent = [], " " * 8
    for line in paper.wrap(value, f"    {side} ", indent):
        while columns(line) > paper.columns:
            kept = clip(line, paper.columns)
            lines.append(kept)
            line = indent + line[len(kept) :]
        lines.append(line)
    return lines


def _label(name: str) -> Message:
    if name.startswith("--"):
        return Message("plan.value.name", name=name)
    return label(name.partition(".")[2] or name)


def _shown(name: str, value: Any, paper: Paper) -> str:
    if value is None:
        return "–"
    if value is False:
        return paper.say(Message("report.no"))
    if value is True or value == "":  # a switch
        return paper.say(Message("report.yes"))
    if name.endswith("_bytes") and isinstance(value, int):
        return size(value)
    if isinstance(value, int | float):
        return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.1f}"
    return str(value)


def _shown_difference(each: Difference) -> str:
    if each.difference is None:
        return ""
    if each.name.endswith("_bytes"):
        amount = abs(each.difference)
        return f"{'+' if each.difference > 0 else '-'}{size(amount) if amount >= MIB else '<1 MiB'}"
    return f"{each.difference:+,.0f}" if isinstance(each.difference, int) else f"{each.difference:+,.1f}"


def _short(text: str, width: int) -> str:
    """Return the end of a text that is too long."""
    return text if columns(text) <= width else f"…{text[1 - width :]}"
