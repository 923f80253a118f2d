"""The kinds of values that a setting may have: how each is read, written and named. Pure."""

import re
from dataclasses import dataclass
from typing import Any, Protocol

from vedette.language.message import Message

MOST_PICTURE_SIDE = 65_535
"""Pixels; no JPEG is wider or higher."""


class Kind(Protocol):
    """What the values of a setting are."""

    @property
    def metavar(self) -> str | None:
        """What stands for a value in help texts; None for a switch, which takes none."""

    @property
    def wanted(self) -> Message:
        """The values that can be used, to be read after "not" and before a full stop."""

    def parse(self, raw: Any, is_text: bool) -> Any:
        """The value. `is_text`: from the environment or the command line, where every value is a text.

        Raises ValueError for a value that cannot be used.
        """

    def write(self, value: Any) -> str:
        """The value as a text that `parse` reads."""


@dataclass(frozen=True)
class Text:
    """Any text that is not empty."""

    metavar: str
    example: str

    @property
    def wanted(self) -> Message:
        return Message("settings.kind.text", example=self.example)

    def parse(self, raw: Any, is_text: bool) -> str:
        return _text(raw)

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Number:
    """A whole number within a range."""

    least: int
    most: int
    metavar: str = "N"

    @property
    def wanted(self) -> Message:
        return Message("settings.kind.number", least=self.least, most=self.most)

    def parse(self, raw: Any, is_text: bool) -> int:
        if is_text and isinstance(raw, str) and re.fullmatch(r"\s*[+-]?\d{1,20}\s*", raw):
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int) or not self.least <= raw <= self.most:
            raise ValueError(raw)
        return raw

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    choices: tuple[str, ...]

    @property
    def metavar(self) -> str:
        return f"[{'|'.join(self.choices)}]"

    @property
    def wanted(self) -> Message:
        return Message("settings.kind.choice", choices=self.choices)

    def parse(self, raw: Any, is_text: bool) -> str:
        if raw not in self.choices:
            raise ValueError(raw)
        return str(raw)

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Switch:
    """On or off."""

    metavar: None = None
    wanted: Message = Message("settings.kind.switch")

    def parse(self, raw: Any, is_text: bool) -> bool:
        if is_text and isinstance(raw, str):
            raw = {"true": True, "1": True, "false": False, "0": False}.get(raw.strip().lower())
        if not isinstance(raw, bool):
            raise ValueError(raw)
        return raw

    def write(self, value: Any) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class PictureSize:
    """A picture's width and height in pixels."""

    metavar: str = "WxH"
    wanted: Message = Message("settings.kind.picture", most=MOST_PICTURE_SIDE)

    def parse(self, raw: Any, is_text: bool) -> tuple[int, int]:
        found = re.fullmatch(r"\s*(\d{1,9})\s*[x×X*]\s*(\d{1,9})\s*", _text(raw))
        width, height = (int(found[1]), int(found[2])) if found else (0, 0)
        if not (1 <= width <= MOST_PICTURE_SIDE and 1 <= height <= MOST_PICTURE_SIDE):
            raise ValueError(raw)
        return width, height

    def write(self, value: Any) -> str:
        return "x".join(map(str, value))


@dataclass(frozen=True)
class Names:
    """Several names in one text, between commas or spaces."""

    metavar: str
    example: str

    @property
    def wanted(self) -> Message:
        return Message("settings.kind.names", example=self.example)

    def parse(self, raw: Any, is_text: bool) -> tuple[str, ...]:
        return tuple(_text(raw).replace(",", " ").split())

    def write(self, value: Any) -> str:
        return ", ".join(value)


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError(raw)
    return raw
