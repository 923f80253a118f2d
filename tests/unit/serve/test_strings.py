"""The pages' own words: the same in both languages, all there, and none unused."""

import re

import pytest

from tests.rig.node import STATIC, run_in_node
from vedette.engine.state import Phase, State

Words = dict[str, str]


@pytest.fixture(scope="module")
def words() -> dict[str, Words]:
    tables: dict[str, Words] = run_in_node(
        'const { ENGLISH, CHINESE } = await import("./static/shared/strings.js");\nreturn { en: ENGLISH, zh: CHINESE };'
    )
    return tables


def used_words() -> set[str]:
    """Keys that pages and scripts name, and beginnings of keys that they put together."""
    used = set()
    for path in STATIC.rglob("*"):
        if path.suffix in (".html", ".js") and path.name != "strings.js":
            text = path.read_text(encoding="utf-8")
            used |= set(re.findall(r'"(\w+)"', text)) | set(re.findall(r"`(\w+_)\$\{", text))
    return used


def test_both_languages_have_the_same_keys(words: dict[str, Words]) -> None:
    assert list(words["en"]) == list(words["zh"])
    assert len(words["en"]) > 60


def test_both_languages_name_the_same_values_and_commands(words: dict[str, Words]) -> None:
    for key, english in words["en"].items():
        for pattern in (r"\{\w+\}", r"`[^`]+`", r"\*"):
            assert sorted(re.findall(pattern, english)) == sorted(re.findall(pattern, words["zh"][key])), key


def test_chinese_is_chinese(words: dict[str, Words]) -> None:
    assert [key for key, text in words["zh"].items() if not re.search(r"[\u4e00-\u9fff]", text)] == []


def test_every_state_and_phase_has_a_word(words: dict[str, Words]) -> None:
    # Draining is a step of a change too, where it comes before all phases.
    assert {key for key in words["en"] if key.startswith("phase_")} == {
        "phase_draining",
        *(f"phase_{phase.value}" for phase in Phase),
    }
    assert {key for key in words["en"] if key.startswith("state_")} == {f"state_{state.value}" for state in State}


def test_every_word_of_the_pages_is_there(words: dict[str, Words]) -> None:
    for path in STATIC.rglob("*.html"):
        named = set(re.findall(r'data-t(?:-label|-placeholder)?="(\w+)"', path.read_text(encoding="utf-8")))
        assert named <= set(words["en"])
        assert named


def test_no_word_is_unused(words: dict[str, Words]) -> None:
    used = used_words()
    unused = [key for key in words["en"] if key not in used and f"{key.partition('_')[0]}_" not in used]
    assert unused == []
