"""Bars that show every part, and never leave the paper."""

import re
from itertools import pairwise

import click
from hypothesis import given
from hypothesis import strategies as st

from vedette.language.columns import columns as columns_of
from vedette.language.message import Message
from vedette.report.bars import Part, bar, cells
from vedette.report.paper import Paper


def part(label: str, size: int) -> Part:
    name, shown = (Message("plan.value.name", name=text) for text in (label, f"{size} bytes"))
    return Part(name, label[0].upper(), 33, size, shown)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=9), st.integers(20, 200))
def test_cells_fill_the_width_and_hide_nothing(sizes: list[int], width: int) -> None:
    counts = cells(sizes, width)
    if any(sizes):
        assert sum(counts) == width
    assert all((count > 0) == (size > 0) for count, size in zip(counts, sizes, strict=True))
    by_size = [count for _, count in sorted(zip(sizes, counts, strict=True))]
    assert all(less <= more + 1 for less, more in pairwise(by_size))


def test_what_is_left_is_shown_and_the_legend_names_each_part_that_is_there() -> None:
    lines = bar([part("weights", 60), part("graphs", 1), part("nothing", 0)], 100, Paper(44))
    drawn = lines[0].strip()
    assert len(drawn) == 40
    assert (drawn.count("W"), drawn.count("G"), drawn.count(".")) == (24, 1, 15)
    assert "W weights 60 bytes" in lines[1]
    assert "nothing" not in "".join(lines)


def test_a_bar_beyond_the_whole_has_a_mark() -> None:
    lines = bar([part("weights", 80), part("KV", 120)], 100, Paper(44))
    assert "." not in lines[0]
    assert lines[1].index("^") == 21, lines
    chinese = bar([part("weights", 80), part("KV", 120)], 100, Paper(44, language="zh"))[1]
    assert columns_of(chinese) == columns_of(lines[1])
    assert chinese.endswith("可用到此处 ^")


def test_colours_only_where_they_can_be_seen() -> None:
    parts = [part("weights", 80), part("KV", 10)]
    assert not any("\x1b" in line for line in bar(parts, 100, Paper(80)))
    coloured = bar(parts, 100, Paper(80, colour=True))
    assert "\x1b[38;5;33m█" in coloured[0]
    assert "W" not in click.unstyle(coloured[0])


@given(st.integers(60, 120), st.lists(st.integers(0, 10**9), min_size=1, max_size=8), st.booleans())
def test_no_line_is_wider_than_the_paper(columns: int, sizes: list[int], colour: bool) -> None:
    parts = [part("a part with quite a long name"[: 4 + index * 3], size) for index, size in enumerate(sizes)]
    for line in bar(parts, 10**9, Paper(columns, colour)):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        assert len(plain) <= columns
