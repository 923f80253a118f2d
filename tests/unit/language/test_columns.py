import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.language.columns import clip, columns, pad, wrap

TEXT = st.text(st.sampled_from("ab ,.()模型计划，。（）`-"), max_size=80)


@pytest.mark.parametrize(
    ("text", "width"), [("plan", 4), ("计划", 4), ("GPU 内存", 8), ("\x1b[31m红\x1b[0m", 2), ("é", 1), ("e\u0301", 1)]
)
def test_a_chinese_character_takes_two_columns_and_a_colour_none(text: str, width: int) -> None:
    assert columns(text) == width


def test_a_text_is_padded_and_clipped_by_columns() -> None:
    assert pad("计划", 6) == "计划  "
    assert pad("too long", 3) == "too long"
    assert clip("计划", 3) == "计"
    assert clip("plan", 4) == "plan"


def test_chinese_breaks_between_characters_but_not_before_a_full_stop() -> None:
    assert wrap("装得下就运行。", 12) == ["装得下就运", "行。"]
    assert wrap("请用（内存）", 6) == ["请用", "（内", "存）"]


def test_words_and_commands_stay_whole() -> None:
    assert wrap("见 `vedette logs`。", 16) == ["见 `vedette", "logs`。"]
    assert wrap("one two  three", 7, "- ", "  ") == ["- one", "  two", "  three"]
    assert wrap("unbreakable", 4) == ["unbreakable"]
    assert wrap("  ", 4) == []


@given(TEXT, st.integers(8, 40))
def test_wrapped_lines_are_short_enough_and_lose_nothing(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert columns(line) <= width or len(wrap(line, 1)) == 1, lines
