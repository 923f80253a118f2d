"""The help page of a command, in the person's language and as wide as the terminal allows."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vedette.language.columns import columns, pad, wrap
from vedette.language.message import Language, Message, hint_of, say

_MOST_COLUMNS = 100
"""Longer lines are harder to read."""
_WIDEST_NAME = 32
"""Columns of a name beside which its help begins; a longer one stands on a line of its own."""


@dataclass(frozen=True)
class Help:
    """What the help page of a command tells."""

    command: str
    """The command as it is typed, with those above it: `vedette service install`."""
    about: Message
    """What the command does; the hint of the message, if there is one, is a second paragraph."""
    arguments: Sequence[str]
    """Its arguments as they are shown: `MODEL`."""
    options: Sequence[tuple[str, Message]]
    """Its options as they are typed (`-n, --lines N`), each with its help."""
    examples: Sequence[str] = ()
    commands: Sequence[tuple[str, Message]] = ()
    """The commands of a group, each with its help."""


def help_page(shown: Help, language: Language) -> str:
    """Return the page: usage, what the command does, examples, a group's commands, options."""
    width = max(40, min(shutil.get_terminal_size().columns, _MOST_COLUMNS))
    usage = Message("cli.help.usage", command=" ".join([shown.command, *_pieces(shown, language)]))
    sections = [wrap(say(usage, language), width, "", "    ")]
    sections += [
        wrap(text, width, "  ") for text in (say(shown.about, language), hint_of(shown.about, language)) if text
    ]
    if shown.examples:
        sections.append([say(Message("cli.help.examples"), language), *(f"  {each}" for each in shown.examples)])
    if shown.commands:
        sections.append([say(Message("cli.help.commands"), language), *_definitions(shown.commands, width, language)])
    sections.append([say(Message("cli.help.options"), language), *_definitions(shown.options, width, language)])
    return "\n\n".join("\n".join(lines) for lines in sections)


def _pieces(shown: Help, language: Language) -> Iterator[str]:
    yield say(Message("cli.help.options_piece"), language)
    yield from shown.arguments
    if shown.commands:
        yield say(Message("cli.help.command_piece"), language)


def _definitions(named: Iterable[tuple[str, Message]], width: int, language: Language) -> Iterator[str]:
    """Yield the lines of a list: names on the left, each with its text beside it."""
    rows = [(name, say(about, language)) for name, about in named]
    left = min(max(columns(name) for name, _ in rows), _WIDEST_NAME) + 4
    for name, text in rows:
        lines = wrap(text, width, " " * left)
        if columns(name) <= left - 4:
            yield pad(f"  {name}", left) + lines[0].lstrip()
        else:
            yield f"  {name}"
            yield lines[0]
        yield from lines[1:]
