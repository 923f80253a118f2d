"""The engine's command: its arguments as flags, and as lines that a shell reads. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

_UP_TO_COMMA = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^"])+?(?:, |$)')
"""JSON up to a comma outside of strings."""


@dataclass(frozen=True)
class Flag:
    """One flag as it is typed; `values` is empty for a switch."""

    name: str
    values: tuple[str, ...]


def split_arguments(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[Flag]]:
    """Return what comes before the first flag (`vllm serve MODEL`), and the flags."""
    starts = [at for at, word in enumerate(arguments) if word.startswith("--")]
    head = tuple(arguments[: starts[0]] if starts else arguments)
    ends = [*starts[1:], len(arguments)]
    return head, [Flag(arguments[at], tuple(arguments[at + 1 : end])) for at, end in zip(starts, ends, strict=True)]


def command_lines(head: Sequence[str], flags: Sequence[Flag], numbers: Mapping[str, int], columns: int) -> list[str]:
    """Return the command as one types it, a flag a line. numbers: of a flag's reason, shown in the margin."""
    lines = [f"      {shlex.join(head)}" + (" \\" if flags else "")]
    for flag in flags:
        margin = click.style(f"{numbers.get(flag.name, ''):>4}", dim=True)
        typed = typed_lines(flag, columns - 10)
        end = "" if flag is flags[-1] else " \\"
        lines += [f"{margin}    {typed[0]}", *(f"          {line}" for line in typed[1:])]
        lines[-1] += end
    return lines


def typed_lines(flag: Flag, columns: int) -> list[str]:
    """Return a flag as a shell reads it. Long JSON continues in the next line, which JSON allows after a comma."""
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
