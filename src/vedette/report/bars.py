"""Amounts as a bar with a legend: colours on a terminal, letters elsewhere. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import click

from vedette.language.columns import columns, pad
from vedette.language.message import Message
from vedette.report.paper import Paper, right


@dataclass(frozen=True)
class Part:
    """One part of a whole: `size` in the bar's unit, `shown` in the legend."""

    label: Message
    letter: str
    hue: int
    """Of the terminal's 256 colours."""
    size: int
    shown: Message


REST = "░"
REST_PLAIN = "."


def bar(parts: Sequence[Part], whole: int, paper: Paper) -> list[str]:
    """Return the bar, a mark at `whole` if the parts exceed it, and the legend, each line within the paper's width.

    Every part that is not empty gets one cell at least.
    """
    shown = [part for part in parts if part.size > 0]
    rest = max(0, whole - sum(part.size for part in shown))
    width = paper.columns - 4
    counts = cells([*(part.size for part in shown), rest], width)
    drawn = "".join(_paint(part, count, paper) for part, count in zip(shown, counts, strict=False))
    drawn += click.style(REST * counts[-1], dim=True) if paper.colour else REST_PLAIN * counts[-1]
    lines = ["  " + drawn]
    beyond = sum(part.size for part in shown) - whole
    if beyond > 0:
        end = 2 + round(width * whole / (whole + beyond))
        lines.append(right(paper.say(Message("report.available_up_to_here")), end))
    return lines + _legend(shown, paper)


def cells(sizes: Sequence[int], width: int) -> list[int]:
    """Divide `width` cells by size. Every size above 0 gets one cell at least, taken from the largest."""
    whole = sum(sizes)
    if whole == 0:
        return [0] * len(sizes)
    exact = [size * width / whole for size in sizes]
    counts = [max(int(share), 1 if share else 0) for share in exact]
    while sum(counts) < width:
        counts[max(range(len(counts)), key=lambda index: exact[index] - counts[index])] += 1
    while sum(counts) > width:
        counts[max(range(len(counts)), key=lambda index: counts[index])] -= 1
    return counts


def _paint(part: Part, count: int, paper: Paper) -> str:
    return click.style("█" * count, fg=part.hue) if paper.colour else part.letter * count


def _legend(parts: Sequence[Part], paper: Paper) -> list[str]:
    """Return the meaning of each colour or letter, in columns of equal width."""
    words = [f"{paper.say(part.label)} {paper.say(part.shown)}" for part in parts]
    if not words:
        return []
    wide = max(map(columns, words)) + 5
    in_row = max(1, (paper.columns - 2) // wide)
    marks = [click.style("■", fg=part.hue) if paper.colour else part.letter for part in parts]
    entries = [f"{mark} {pad(word, wide - 2)}" for mark, word in zip(marks, words, strict=True)]
    return ["  " + "".join(entries[at : at + in_row]).rstrip() for at in range(0, len(entries), in_row)]
