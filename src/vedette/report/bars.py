"""Amounts as a bar with a legend: colours on a terminal, letters elsewhere. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Paper:
    """What a page is written on."""

    columns: int = 80
    colour: bool = False


@dataclass(frozen=True)
class Part:
    """One part of a whole: `size` in the bar's unit, `said` in words for the legend."""

    label: str
    letter: str
    hue: int
    """Of the terminal's 256 colours."""
    size: int
    said: str


REST = "░"
REST_PLAIN = "."


def bar(parts: Sequence[Part], whole: int, paper: Paper) -> list[str]:
    """The bar, a mark at `whole` if the parts go beyond it, and the legend, each line within the paper.

    Every part that is not nothing can be seen: it gets one cell at least.
    """
    seen = [part for part in parts if part.size > 0]
    rest = max(0, whole - sum(part.size for part in seen))
    width = paper.columns - 4
    counts = cells([*(part.size for part in seen), rest], width)
    drawn = "".join(_paint(part, count, paper) for part, count in zip(seen, counts, strict=False))
    drawn += click.style(REST * counts[-1], dim=True) if paper.colour else REST_PLAIN * counts[-1]
    lines = ["  " + drawn]
    beyond = sum(part.size for part in seen) - whole
    if beyond > 0:
        lines.append(f"{'available up to here ^':>{2 + round(width * whole / (whole + beyond))}}")
    return lines + _legend(seen, paper)


def cells(sizes: Sequence[int], width: int) -> list[int]:
    """`width` cells shared out by size; whoever is not nothing gets one, the largest give way for that."""
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
    """What each colour or letter stands for, in columns of equal width."""
    words = [f"{part.label} {part.said}" for part in parts]
    if not words:
        return []
    wide = max(map(len, words)) + 5
    in_row = max(1, (paper.columns - 2) // wide)
    marks = [click.style("■", fg=part.hue) if paper.colour else part.letter for part in parts]
    entries = [f"{mark} {word.ljust(wide - 2)}" for mark, word in zip(marks, words, strict=True)]
    return ["  " + "".join(entries[at : at + in_row]).rstrip() for at in range(0, len(entries), in_row)]
