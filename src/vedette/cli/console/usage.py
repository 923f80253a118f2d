"""Errors of the command line itself, shown as every other error: click says them in English sentences only."""

import difflib
from collections.abc import Iterable

import click

from vedette.errors import BadInputError


class WrongUseError(click.UsageError):
    """A command line that cannot be understood, with what is wrong."""

    def __init__(self, error: BadInputError, context: click.Context | None = None) -> None:
        super().__init__(error.sentence, context)
        self.error = error


def usage_error(found: click.ClickException) -> BadInputError:
    """What click found wrong, as an error with a message."""
    if isinstance(found, WrongUseError):
        return found.error
    context = found.ctx if isinstance(found, click.UsageError) else None
    command = context.command_path if context else "vedette"
    if isinstance(found, click.NoSuchOption):
        near = _nearest(found.option_name, found.possibilities or ())
        if near is None:
            return BadInputError("cli.no_option", option=found.option_name, command=command)
        return BadInputError("cli.no_option_near", option=found.option_name, near=near, command=command)
    if isinstance(found, click.BadOptionUsage):
        option = _option(context, found.option_name)
        if option is not None and option.is_flag:
            return BadInputError("cli.no_value_taken", option=found.option_name, command=command)
        if option is not None and option.nargs > 1:
            return BadInputError("cli.values_missing", option=found.option_name, values=option.nargs, command=command)
        return BadInputError("cli.value_missing", option=found.option_name, command=command)
    if isinstance(found, click.MissingParameter) and found.param is not None:
        return BadInputError("cli.argument_missing", name=found.param.human_readable_name.upper(), command=command)
    if context is not None and isinstance(context.command, click.Group):
        return BadInputError("cli.command_missing", command=command)
    return BadInputError("cli.usage", sentence=found.format_message(), command=command)


def no_command(context: click.Context, name: str, known: Iterable[str]) -> WrongUseError:
    """The error that a group has no command of this name."""
    near = _nearest(name, known)
    if near is None:
        return WrongUseError(BadInputError("cli.no_command", name=name, command=context.command_path), context)
    return WrongUseError(
        BadInputError("cli.no_command_near", name=name, near=near, command=context.command_path), context
    )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)), None)


def _option(context: click.Context | None, name: str) -> click.Option | None:
    parameters = context.command.params if context else ()
    return next((each for each in parameters if isinstance(each, click.Option) and name in each.opts), None)
