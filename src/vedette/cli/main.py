"""The command line: parse, call, print, exit code. Heavy rooms are imported by the command that needs them."""

import errno
import importlib
import os
import sys

import click

from vedette import __version__
from vedette.cli.console.bilingual import Group, Option, Speaking
from vedette.cli.console.speech import Speech
from vedette.cli.console.usage import usage_error
from vedette.errors import DiskFullError, FileAccessError, VedetteError
from vedette.files import NotRegularError, TooLargeFileError
from vedette.language.message import Message
from vedette.settings.load import read_language

_ODD = (NotRegularError, TooLargeFileError)
COMMANDS = (
    "up", "plan", "status", "open", "swap", "verify", "rm", "gc", "keys", "logs", "down", "service", "device",
    "settings",
)  # fmt: skip
"""In the order of the help page. The command NAME is `NAME_command` in cli/NAME_command.py."""
_OF_MODELS = {"verify", "rm", "gc"}
"""Commands whose files are in cli/models/."""


def main() -> None:
    """Runs the command line. An error is shown in one place, here, and exits with 1; a wrong command line with 2.

    A bug keeps its traceback.
    """
    os.umask(0o077)  # what vedette writes is its user's alone: logs, prompts in them, keys
    speech = Speech(read_language())
    try:
        root_command().main(obj=speech, prog_name="vedette", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        speech.tell_error(usage_error(error))
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except VedetteError as error:
        speech.tell_error(error)
        sys.exit(1)
    except OSError as error:
        speech.tell_error(_file_error(error))
        sys.exit(1)


class _Root(Group):
    """`vedette`. Only the command that is asked for is imported: an `up` runs for months and keeps what it loaded."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def members(self) -> list[tuple[str, Speaking]]:
        return [(name, _load(name)) for name in COMMANDS]


def root_command() -> Group:
    """`vedette`, with all its commands."""
    version = Option(
        "-V", "--version", is_flag=True, expose_value=False, callback=_show_version, about=Message("cli.version")
    )
    return _Root("vedette", about=Message("cli.vedette"), params=[version], no_args_is_help=True)


def _load(name: str) -> Speaking:
    folder = "cli.models" if name in _OF_MODELS else "cli"
    command: Speaking = getattr(importlib.import_module(f"vedette.{folder}.{name}_command"), f"{name}_command")
    return command


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"vedette {__version__}")
        context.exit()


def _file_error(error: OSError) -> VedetteError:
    """The error of a file that a person can do something about. Raises any other error again: that is a bug."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes, os.PathLike)) else None
    if error.errno == errno.ENOSPC:
        return (
            DiskFullError("cli.disk_full", error=error.strerror)
            if path is None
            else DiskFullError("cli.disk_full_at", path=path)
        )
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP) and not isinstance(error, _ODD):
        raise error
    if path is None:
        return FileAccessError("cli.file_access", error=error.strerror)
    return FileAccessError("cli.file_access_at", path=path, error=error.strerror)
