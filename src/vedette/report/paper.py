"""The paper that a report is written on: its width, colour and language, and lines that keep to its width. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import click

from vedette.language.columns import columns, pad, wrap
from vedette.language.message import Language, Message, say

HEADING_COLUMNS = 8


@dataclass(frozen=True)
class Paper:
    """The form of a report."""

    columns: int = 80
    colour: bool = False
    language: Language = "en"

    def say(self, message: Message) -> str:
        """Return a message in the paper's language."""
        return say(message, self.language)

    def wrap(self, text: Message | str, indent: str = "", rest: str | None = None) -> list[str]:
        """Return a text in lines that keep to the paper's width. rest: indents all lines but the first."""
        return wrap(text if isinstance(text, str) else self.say(text), self.columns, indent, rest)

    def heading(self, title: Message, text: Message | None = None) -> str:
        """Return the first line of a section."""
        name = click.style(pad(self.say(title), HEADING_COLUMNS if text else 0), bold=True)
        return f"{name} {self.say(text)}" if text else name

    def mark(self, text: str, good: bool) -> str:
        """Return a line with a green tick or a red cross before it."""
        return (click.style("✓ ", fg="green") if good else click.style("✗ ", fg="red")) + text

    def notes(self, messages: Sequence[Message]) -> list[str]:
        """Return sentences in yellow, indented."""
        lines = [line for message in messages for line in self.wrap(message, "  ")]
        return [f"  {click.style(line[2:], fg='yellow')}" for line in lines]


def right(text: str, width: int) -> str:
    """Return the text with spaces before it, up to `width` columns."""
    return " " * (width - columns(text)) + text
