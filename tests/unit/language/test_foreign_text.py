"""Text from elsewhere is shown as text: it moves no cursor, forges no line, and is cut between words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.language.foreign_text import plain, plain_json, plain_page, reason_in
from vedette.language.message import Message, say

ATTACKS = {
    "a new line": ("ok\n2026 root logged in", "ok\\n2026 root logged in"),
    "the start of the line": ("ok\rnot", "ok\\rnot"),
    "a cleared screen": ("\x1b[2J\x1b[H", "\\x1b[2J\\x1b[H"),
    "the clipboard (OSC 52)": ("\x1b]52;c;cm0gLXJm\x07", "\\x1b]52;c;cm0gLXJm\\x07"),
    "C1 control sequence": ("\x9b31m", "\\x9b31m"),
    "C1 operating system command": ("\x9d0;title\x9c", "\\x9d0;title\\x9c"),
    "next line": ("a\x85b", "a\\x85b"),
    "line separators": ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
    "overriding the direction": ("gpj\u202eexe", "gpj\\u202eexe"),
    "isolating the direction": ("\u2066a\u2069", "\\u2066a\\u2069"),
    "a file name that is no UTF-8": ("caf\udce9", "caf\\udce9"),
    "a colour": ("\x1b[31mred", "\\x1b[31mred"),
    "delete and backspace": ("ab\x08\x7f", "ab\\x08\\x7f"),
}


@pytest.mark.parametrize(("text", "shown"), ATTACKS.values(), ids=list(ATTACKS))
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert say(Message("errors.verbatim", sentence=text, hint="")) == shown
    assert say(Message("errors.verbatim", sentence=Message("detail.verbatim", text=text), hint="")) == shown


@pytest.mark.parametrize("text", ["café 你好 👩‍👩‍👧 שלום\tend", "", "a\\nb", "~"])
def test_all_other_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@given(st.text())
def test_shown_text_is_one_line_that_can_be_printed(text: str) -> None:
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    assert not any(character != "\t" and ord(character) < 32 for character in shown)
    shown.encode()
    assert plain(shown) == shown


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_json_stays_the_same_document_on_one_line(document: dict[str, object]) -> None:
    line = plain_json(document)
    assert json.loads(line) == document
    assert plain(line) == line


def test_a_page_keeps_its_lines_and_colours_and_nothing_else() -> None:
    page = "\x1b[1mHead\x1b[0m\n  name \x1b]52;c;x\x07\x1b[2J\r"
    assert plain_page(page) == "\x1b[1mHead\x1b[0m\n  name \\x1b]52;c;x\\x07\\x1b[2J\\r"


def test_a_long_reason_ends_after_a_word() -> None:
    text = "The server cannot load the model, because " + "memory is short and " * 50
    reason = reason_in(text, 100)
    assert len(reason) <= 100
    assert reason.endswith(" …")
    assert text.startswith(reason[:-1])


@given(st.text(), st.integers(10, 60))
def test_a_reason_has_its_length_and_words_of_the_text(text: str, most: int) -> None:
    reason = reason_in(text, most)
    assert len(reason) <= most
    words = text.split()
    if reason.endswith(" …") and len(" ".join(words)) > most:
        whole = reason[:-2].split()
        assert words[: len(whole) - 1] == whole[:-1]
    elif len(text) <= most:
        assert reason == " ".join(words)


def test_one_long_word_and_a_large_document_are_cut_as_well() -> None:
    assert reason_in("Error: " + "x" * 10_000, 50) == "Error: " + "x" * 41 + " …"
    assert len(reason_in("word " * 10_000_000)) <= 300
