"""Prints a command's output: sentences in English or Chinese for a person, or JSON for a program."""

from dataclasses import dataclass
from typing import Any

import click

from vedette.errors import VedetteError
from vedette.language.foreign_text import plain_json, plain_page
from vedette.language.message import Language, Message, hint_of, say


@dataclass
class Speech:
    """The language and the form of the output. Known before the command line is checked: its errors need them, too."""

    language: Language
    as_json: bool = False

    def say(self, message: Message) -> str:
        """Return the sentence in the person's language."""
        return say(message, self.language)

    def hint(self, error: VedetteError) -> str:
        """Return the error's next step as a part of another message; in English for a program."""
        return hint_of(error.message, "en" if self.as_json else self.language) or ""

    def tell(self, document: Any, text: "str | Message") -> None:
        """Print the document for a program, or the text for a person."""
        if self.as_json:
            click.echo(plain_json(document))
        else:
            click.echo(plain_page(text) if isinstance(text, str) else self.say(text))

    def tell_error(self, error: VedetteError) -> None:
        """Print an error: an event on standard output for a program, two lines on standard error for a person."""
        if self.as_json:
            click.echo(plain_json({"event": "error", **error.as_json()}))
            return
        click.echo(f"{click.style('✗', fg='red')} {self.say(error.message)}", err=True)
        if hint := hint_of(error.message, self.language):
            click.echo(f"  → {hint}", err=True)
