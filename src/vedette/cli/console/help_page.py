"""The help page of a command, in the person's language and as wide as the terminal allows."""

import shutil
from collections.abc import Iterable, Iterator

import click

from vedette.cli.console.bilingual import Group, Option, Speaking
from vedette.language.columns import columns, pad, wrap
from vedette.language.message import Language, Message, hint_of, say

_MOST_COLUMNS = 100
"""Longer lines are harder to read."""
_WIDEST_NAME = 32
"""Columns of a name beside which its help begins; a longer one stands on a line of its own."""


def help_page(command: Speaking, context: click.Context, language: Language) -> str:
    """The page: usage, what the command does, examples, options, and a group's commands."""
    width = max(40, min(shutil.get_terminal_size().columns, _MOST_COLUMNS))
    usage = say(
        Message("cli.help.usage", command=" ".join([context.command_path, *_pieces(command, language)])), language
    )
    sections = [wrap(usage, width, "", "    ")]
    sections += [
        wrap(text, width, "  ") for text in (say(command.about, language), hint_of(command.about, language)) if text
    ]
    if command.examples:
        sections.append([say(Message("cli.help.examples"), language), *(f"  {each}" for each in command.examples)])
    if isinstance(command, Group):
        named = [(name, say(each.about, language)) for name, each in command.members()]
        sections.append([say(Message("cli.help.commands"), language), *_definitions(named, width)])
    named = [(_spelling(each, context), say(each.about, language)) for each in command.options()]
    sections.append([say(Message("cli.help.options"), language), *_definitions(named, width)])
    return "\n\n".join("\n".join(lines) for lines in sections)


def _pieces(command: Speaking, language: Language) -> Iterator[str]:
    yield say(Message("cli.help.options_piece"), language)
    for each in command.params:
        if isinstance(each, click.Argument):
            yield each.metavar or each.human_readable_name
    if isinstance(command, Group):
        yield say(Message("cli.help.command_piece"), language)


def _spelling(option: Option, context: click.Context) -> str:
    """An option as it is typed: `-n, --lines N`."""
    record = option.get_help_record(context)
    return record[0] if record else ""


def _definitions(named: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Names on the left, each with its text beside it."""
    rows = list(named)
    left = min(max(columns(name) for name, _ in rows), _WIDEST_NAME) + 4
    for name, text in rows:
        lines = wrap(text, width, " " * left)
        if columns(name) <= left - 4:
            yield pad(f"  {name}", left) + lines[0].lstrip()
        else:
            yield f"  {name}"
            yield lines[0]
        yield from lines[1:]
