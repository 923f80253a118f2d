import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vedette
from vedette.engine.vllm import causes
from vedette.engine.vllm.causes import Death, find_cause

PACKAGE = Path(vedette.__file__).parent
STATIC = PACKAGE / "serve" / "static"
LIVE = [
    "engine/vllm/causes.py",
    "engine/client.py",
    "serve/backend.py",
    "serve/api/served_models.py",
    *(f"serve/live/{name}.py" for name in ("answer", "messages", "session")),
    *(f"sources/{name}.py" for name in ("cameras", "pictures")),
]
"""Whose sentences reach the page, beside those of a start that fails."""


def table(language: str) -> str:
    text = (STATIC / "strings.js").read_text(encoding="utf-8")
    return re.findall(rf"^  {language}: \{{$(.*?)^  \}},$", text, re.DOTALL | re.MULTILINE)[0]


def keys(language: str) -> list[str]:
    bare = re.sub(r'"(?:[^"\\]|\\.)*"(?!:)', '""', table(language))
    return re.findall(r'("[\w ]+"|\w+):', bare)


def test_both_languages_have_the_same_words():
    assert keys("en") == keys("zh")
    assert len(set(keys("en"))) == len(keys("en")) > 60


def test_both_languages_fill_in_the_same_values():
    def values(language: str) -> list[list[str]]:
        return [
            sorted(re.findall(r"\{(\w+)\}", text)) for text in re.findall(r': "((?:[^"\\]|\\.)*)"', table(language))
        ]

    assert values("en") == values("zh")


def test_every_word_that_the_page_uses_is_there():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r'data-t(?:-label|-placeholder)?="(\w+)"', page))
    for script in STATIC.glob("*.js"):
        used |= set(re.findall(r'\bt\("(\w+)"', script.read_text(encoding="utf-8")))
    assert used <= set(keys("en"))
    assert len(used) > 40


def bare(text: str) -> str:
    """A sentence with nothing said of the values in it but where they are."""
    return re.sub(r"\{\w*\}", "{}", text)


def chinese() -> dict[str, str]:
    """English sentences and hints of the server, and what the Chinese page says for them."""
    text = (STATIC / "chinese.js").read_text(encoding="utf-8")
    return dict(json.loads(pair) for pair in re.findall(r"^  (\[.*\]),$", text, re.MULTILINE))


def about() -> set[str]:
    text = (STATIC / "chinese.js").read_text(encoding="utf-8")
    return set(re.findall(r"(\w+): \"", re.findall(r"const ABOUT = \{(.*?)^\};", text, re.DOTALL | re.MULTILINE)[0]))


def template(node: ast.expr) -> str | None:
    """A string of the source with `{}` for what is filled in; None of what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bare(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = template(node) if isinstance(node, ast.expr) else None
        if text is not None:
            yield text


def told(path: Path) -> Iterator[str]:
    """Sentences and hints of a module's errors and causes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            arguments = {"Error": node.args, "Cause": node.args[1:]}.get(node.func.id[-5:], [])
            yield from filter(None, map(template, arguments))


@pytest.mark.parametrize("path", LIVE)
def test_what_reaches_the_page_has_chinese(path):
    said = {bare(text) for text in chinese()}
    missing = [text for text in told(PACKAGE / path) if text not in said]
    assert not missing


def test_every_cause_has_chinese():
    said = {bare(text) for text in chinese()}
    constants = [cause for cause in vars(causes).values() if isinstance(cause, causes.Cause)]
    found = [(cause.code, cause.sentence, cause.hint) for cause in constants]
    found += [(code, sentence, hint) for _, code, sentence, hint in causes._TELLING]
    for code, sentence, hint in found:
        assert code in about()
        assert {bare(sentence), bare(hint)} <= said
    codes = {code for code, _, _ in found} | set(causes._OUTLOOKS)
    codes |= {find_cause(Death(*death)).code for death in [(3, []), (-9, [], 0), (1, ["ValueError: no"])]}
    assert codes <= about()
    assert len(codes) > 10


def test_every_error_has_a_chinese_word():
    def kinds(error: type[vedette.errors.VedetteError]) -> Iterator[str]:
        yield error.code
        for kind in error.__subclasses__():
            yield from kinds(kind)

    assert set(kinds(vedette.errors.VedetteError)) <= about()


def test_nothing_is_translated_that_nobody_says():
    ours = {text.strip() for path in PACKAGE.rglob("*.py") for text in strings(path)}
    stale = [text for text in chinese() if bare(text) not in ours]
    assert not stale


def test_chinese_names_the_same_values():
    for english, zh in chinese().items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", zh))
        assert re.findall(r"`[^`]+`", english) == re.findall(r"`[^`]+`", zh)
        assert re.search(r"[\u4e00-\u9fff]", zh)
