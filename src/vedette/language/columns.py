"""Text on a terminal: a Chinese character takes two columns, and a line may break beside any of them. Pure."""

import re
import unicodedata
from collections.abc import Iterator

_NEVER_FIRST = frozenset("，。；：、？！）］】》”’…·,.;:?!)]%")
"""Characters that no line begins with."""
_NEVER_LAST = frozenset("（［【《“‘([")
"""Characters that no line ends with."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def columns(text: str) -> int:
    """How many columns of a terminal a text takes; colours take none."""
    return sum(map(_width, _ESCAPES.sub("", text)))


def pad(text: str, width: int) -> str:
    """The text with spaces after it, up to `width` columns."""
    return text + " " * (width - columns(text))


def clip(text: str, width: int) -> str:
    """As much of the text's beginning as `width` columns hold."""
    kept = 0
    for position, character in enumerate(text):
        kept += _width(character)
        if kept > width:
            return text[:position]
    return text


def wrap(text: str, width: int, indent: str = "", rest: str | None = None) -> list[str]:
    """The text in lines of at most `width` columns; `rest` indents all lines but the first (`indent` if None).

    Spaces and line breaks in the text are one space. What cannot be broken stands on a line that is too long.
    """
    lines: list[str] = []
    line, empty = indent, True
    for space, piece in _pieces(" ".join(text.split())):
        if not empty and columns(line) + columns(space) + columns(piece) > width:
            lines.append(line)
            line, empty = (indent if rest is None else rest), True
        line += piece if empty else space + piece
        empty = False
    return [*lines, line] if not empty else lines


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """What may stand alone on a line, each with the space before it."""
    space, piece = "", ""
    for character in text:
        if character == " ":
            if piece:
                yield space, piece
            space, piece = " ", ""
            continue
        if piece and _breaks_between(piece[-1], character):
            yield space, piece
            space, piece = "", ""
        piece += character
    if piece:
        yield space, piece


def _breaks_between(before: str, after: str) -> bool:
    wide = _width(before) == 2 or _width(after) == 2
    return wide and before not in _NEVER_LAST and after not in _NEVER_FIRST


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
