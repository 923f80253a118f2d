import re
from pathlib import Path

import vedette.serve

STATIC = Path(vedette.serve.__file__).parent / "static"


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
