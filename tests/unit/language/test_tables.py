"""Both tables have every code that the source uses, with the same parameters, and nothing that it does not use."""

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import vedette
from vedette import errors
from vedette.engine.state import Phase, State
from vedette.errors import VedetteError
from vedette.language.chinese import CHINESE
from vedette.language.english import ENGLISH
from vedette.language.message import FAMILIES

PACKAGE = Path(vedette.__file__).parent
ENUMS = {"phase.": Phase, "state.": State}
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, VedetteError)}


def parameters(entry: str | tuple[str, str]) -> set[str]:
    texts = (entry,) if isinstance(entry, str) else entry
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name is not None}


def used() -> Iterator[tuple[str, set[str], str]]:
    """Code, names of parameters and place of every message and error that the source makes."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            first = node.args[0]
            if node.func.id not in {"Message", *ERRORS} or not isinstance(first, ast.Constant):
                continue
            names = {keyword.arg for keyword in node.keywords}
            if None not in names and len(node.args) == 1:
                yield str(first.value), {str(name) for name in names}, f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_both_tables_have_the_same_codes_parameters_and_kinds_of_entries() -> None:
    assert set(ENGLISH) == set(CHINESE)
    for code, entry in ENGLISH.items():
        assert parameters(entry) == parameters(CHINESE[code]), code
        assert isinstance(entry, str) == isinstance(CHINESE[code], str), code


def test_every_message_has_a_sentence_and_all_of_its_parameters() -> None:
    for code, names, place in used():
        assert code in ENGLISH, place
        assert parameters(ENGLISH[code]) <= names, place


def test_every_sentence_is_used() -> None:
    families = {f"{family}{member.value}" for family in FAMILIES for member in ENUMS[family]}
    assert families <= set(ENGLISH)
    assert set(ENGLISH) - {code for code, _, _ in used()} - families == set()


NAMES = {"cli.label.api", "cli.label.state"}
"""Codes of names, which are the same in both languages."""


def test_an_english_sentence_is_not_left_in_the_chinese_table() -> None:
    same = {code for code in ENGLISH if ENGLISH[code] == CHINESE[code] and any(map(str.isalpha, str(ENGLISH[code])))}
    assert {code for code in same if parameters(ENGLISH[code]) == set()} - NAMES == set()
