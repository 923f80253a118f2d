"""Commands that speak two languages: click reads the command line, and every text comes from the language tables."""

from collections.abc import Iterable, Sequence
from typing import Any

import click

from vedette.cli.console.help_page import Help, help_page
from vedette.cli.console.speech import Speech
from vedette.cli.console.usage import WrongUseError, no_command
from vedette.errors import BadInputError
from vedette.language.message import Message
from vedette.settings.load import parse_flags, read_language
from vedette.settings.table import SETTINGS, Setting, off_option


class Option(click.Option):
    """An option whose help is a message."""

    def __init__(self, *names: str, about: Message, **attributes: Any) -> None:
        super().__init__(names, **attributes)
        self.about = about


class SettingOption(Option):
    """The option of a setting. Its value stays the text that was given: settings/load.py checks all layers alike."""

    def __init__(self, setting: Setting, **attributes: Any) -> None:
        option, default, about = setting.option or "", setting.default, setting.help
        if default is not None and default is not False:
            about = Message("cli.with_default", help=about, default=setting.kind.write(default))
        if setting.kind.metavar is None:
            names, attributes["default"] = f"{option}/{off_option(option)}", None
        else:
            names, attributes["metavar"] = option, setting.kind.metavar
        super().__init__(names, setting.name, about=about, **attributes)
        self.setting = setting


class Speaking(click.Command):
    """What a command and a group have in common: their texts, and how they are asked to speak."""

    def __init__(
        self,
        name: str | None,
        *,
        about: Message,
        examples: Sequence[str] = (),
        params: Iterable[click.Parameter] = (),
        **more: Any,
    ) -> None:
        super().__init__(name, params=[*params, *_everywhere()], add_help_option=False, **more)
        self.about = about
        """What the command does; the hint of the message, if there is one, is a second paragraph of the help."""
        self.examples = examples

    def options(self) -> list[Option]:
        """The options in the order of the help page."""
        return [each for each in self.params if isinstance(each, Option)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        self.listen(ctx, args, ctx.allow_interspersed_args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser names none
            raise

    def listen(self, ctx: click.Context, args: Sequence[str], interspersed: bool) -> None:
        """Takes from the arguments how to speak, whatever else is wrong with them: click reads them leniently."""
        lenient = click.Context(self, ctx.parent, resilient_parsing=True, ignore_unknown_options=True)
        lenient.allow_interspersed_args = interspersed
        found, _, _ = self.make_parser(lenient).parse_args(list(args))
        speech: Speech = ctx.obj
        speech.as_json = speech.as_json or found.get("as_json") is True
        if isinstance(found.get("lang"), str):
            speech.language = read_language(found["lang"])

    def members(self) -> list[tuple[str, "Speaking"]]:
        """The commands of a group by name; none of a command."""
        return []

    def get_help(self, ctx: click.Context) -> str:
        shown = Help(
            ctx.command_path,
            self.about,
            [each.metavar or each.human_readable_name for each in self.params if isinstance(each, click.Argument)],
            [(_as_typed(each, ctx), each.about) for each in self.options()],
            self.examples,
            [(name, each.about) for name, each in self.members()],
        )
        return help_page(shown, ctx.obj.language)


class Command(Speaking):
    """A command."""

    allow_extra_args = True  # refused below, in the person's language

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if rest:
            error = BadInputError("cli.extra_arguments", arguments=tuple(rest), command=ctx.command_path)
            raise WrongUseError(error, ctx)
        return rest


class Group(Speaking, click.Group):
    """A group of commands, which are listed in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def members(self) -> list[tuple[str, Speaking]]:
        return [(name, each) for name, each in self.commands.items() if isinstance(each, Speaking)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.list_commands(ctx):
            self.listen(ctx, args, interspersed=True)  # there is no command to say what the arguments mean
            raise no_command(ctx, args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def _as_typed(option: Option, context: click.Context) -> str:
    """Return an option as it is typed: `-n, --lines N`."""
    record = option.get_help_record(context)
    return record[0] if record else ""


def _everywhere() -> list[Option]:
    """The options that every command has."""
    shown = {"is_flag": True, "is_eager": True, "expose_value": False, "callback": _show_help}
    return [
        Option("--json", "as_json", is_flag=True, expose_value=False, about=Message("cli.json")),
        SettingOption(SETTINGS["lang"], expose_value=False, callback=_check_language),
        Option("-h", "--help", about=Message("cli.help"), **shown),
    ]


def _check_language(_: click.Context, parameter: click.Parameter, value: str | None) -> None:
    parse_flags({"lang": value})


def _show_help(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(context.get_help())
        context.exit()
