"""How commands are declared: their texts, and the options that come from the table of settings."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from vedette.cli.console.bilingual import Command, Group, SettingOption
from vedette.cli.console.speech import Speech
from vedette.language.message import Message
from vedette.settings.table import settings_of


def command(
    name: str, about: Message, *params: click.Parameter, examples: Sequence[str]
) -> Callable[[Callable[..., None]], Command]:
    """Makes a command of a function, which is called with the speech and the parameters' values.

    about: what the command does; examples: command lines.
    """

    def make(function: Callable[..., None]) -> Command:
        return Command(name, callback=_with_speech(function), about=about, params=params, examples=examples)

    return make


def group(name: str, about: Message, *params: click.Parameter, members: Sequence[Command | Group]) -> Group:
    """Makes a group of commands, which asks for one of them where none is named."""
    made = Group(name, about=about, params=params, no_args_is_help=True)
    for each in members:
        made.add_command(each)
    return made


def models_argument() -> click.Argument:
    """The MODEL arguments, as `models`."""
    return click.Argument(["models"], nargs=-1, metavar="[MODEL]...")


def setting_options(command_name: str) -> list[SettingOption]:
    """The options of all settings that the table gives this command."""
    return [SettingOption(setting) for setting in settings_of(command_name)]


def _with_speech(function: Callable[..., None]) -> Callable[..., None]:
    def call(**values: Any) -> None:
        speech: Speech = click.get_current_context().obj
        function(speech, **values)

    return call
