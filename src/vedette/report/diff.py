"""Two plans side by side: only what differs. Works on plans as JSON, so that saved ones can be compared too."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from vedette.errors import BadInputError
from vedette.report.bars import Paper
from vedette.report.explain import LABELS
from vedette.report.flag_story import split_arguments
from vedette.units import GIB

_GROUPS = ("memory", "context", "speed")
_OWN_LABELS = {
    "decode_tokens_per_s_ceiling": "tokens/s at most",
    "decode_tokens_per_s": "tokens/s expected",
    "first_token_ms_floor": "first token ms",
    "images_per_request": "pictures a request",
    "total_bytes": "total",
}
_VALUE_COLUMNS = 19
_CHANGE_COLUMNS = 14


@dataclass(frozen=True)
class Difference:
    """One thing that two plans have otherwise; None where a plan has none."""

    name: str
    """Where it is in the JSON (`memory.kv_cache_bytes`), or a flag."""
    a: Any
    b: Any

    @property
    def difference(self) -> float | None:
        """`b` less `a`, where both are numbers."""
        numbers = [
            value for value in (self.a, self.b) if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        return numbers[1] - numbers[0] if len(numbers) == 2 else None


def parse_plan(text: str, name: str) -> dict[str, Any]:
    """A saved plan. name: what to call it in errors. Raises BadInputError for what is no plan."""
    hint = "Save one with `vedette plan --json > plan.json`."
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{name} is no JSON, and so no saved plan.", hint) from error
    if isinstance(found, dict) and "together" in found:
        raise BadInputError(f"{name} holds the plans of several models.", "Compare plans of one model each.")
    parts = [found.get(part) if isinstance(found, dict) else None for part in ("device", "engine", *_GROUPS)]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(found.get("model"), str):
        raise BadInputError(f"{name} is no saved plan.", hint)
    argv = found["engine"].get("argv", [])
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise BadInputError(f"{name} is no saved plan: its engine has no arguments.", hint)
    return dict(found)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """What differs, in the order in which a plan is read; the engine's own port and paths apart."""
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


def diff_json(names: tuple[str, str], found: list[Difference]) -> dict[str, Any]:
    """The differences for programs; names: what each side is called."""
    return {
        "a": names[0],
        "b": names[1],
        "differences": [{"name": each.name, "a": each.a, "b": each.b, "difference": each.difference} for each in found],
    }


def explain_diff(names: tuple[str, str], found: list[Difference], paper: Paper) -> str:
    """The differences as a table within the paper."""
    if not found:
        return f"{names[0]} and {names[1]}: the same plan."
    label_columns = min(36, paper.columns - 2 * _VALUE_COLUMNS - _CHANGE_COLUMNS)
    heads = [_short(name, _VALUE_COLUMNS - 2) for name in names]
    head = (
        " " * label_columns
        + "".join(f"{name:>{_VALUE_COLUMNS}}" for name in heads)
        + f"{'difference':>{_CHANGE_COLUMNS}}"
    )
    lines = [click.style(head.rstrip(), bold=True)]
    group = ""
    for each in found:
        if _group(each.name) != group:
            group = _group(each.name)
            lines += ["", click.style(group, bold=True)]
        lines += _row(each, label_columns, paper)
    return "\n".join(lines)


def _group(name: str) -> str:
    if name.startswith("--"):
        return "Flags"
    group = name.partition(".")[0]
    return group.capitalize() if group in _GROUPS else "Plan"


def _row(each: Difference, label_columns: int, paper: Paper) -> list[str]:
    values = [_said(each.name, value) for value in (each.a, each.b)]
    if max(map(len, values)) > _VALUE_COLUMNS - 2:
        return [f"  {_label(each.name)}", *_below("a", values[0], paper), *_below("b", values[1], paper)]
    label = _short(_label(each.name), label_columns - 2)
    columns = "".join(f"{value:>{_VALUE_COLUMNS}}" for value in values)
    return [f"  {label:<{label_columns - 2}}{columns}{_said_difference(each):>{_CHANGE_COLUMNS}}".rstrip()]


def _below(side: str, value: str, paper: Paper) -> list[str]:
    return textwrap.wrap(value, paper.columns, initial_indent=f"    {side} ", subsequent_indent=" " * 8)


def _label(name: str) -> str:
    last = name.partition(".")[2] or name
    return (
        _OWN_LABELS.get(last) or LABELS.get(last.removesuffix("_bytes")) or last.replace("_bytes", "").replace("_", " ")
    )


def _said(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if value == "" or isinstance(value, bool):
        return "no" if value is False else "yes"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / GIB:.2f} GiB"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.1f}"
    return str(value)


def _said_difference(each: Difference) -> str:
    if each.difference is None:
        return ""
    if each.name.endswith("_bytes"):
        return f"{each.difference / GIB:+.2f} GiB"
    return f"{each.difference:+,.0f}" if isinstance(each.difference, int) else f"{each.difference:+,.1f}"


def _short(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"…{text[1 - columns :]}"
