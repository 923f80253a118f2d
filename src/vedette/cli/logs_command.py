"""`vedette logs`: parse, call, print, exit code."""

import contextlib
import io
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import click

from vedette.cli.console.bilingual import Option
from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.cli.console.usage import WrongUseError
from vedette.errors import BadInputError, NotRunningError
from vedette.files import open_regular
from vedette.language.foreign_text import plain
from vedette.language.message import Message
from vedette.settings.home import read_home

_LOOK_EVERY_S = 0.3
_LONGEST_LINE = 65_536
"""Characters; a longer line is printed in pieces."""


def _parse_lines(context: click.Context, _: click.Parameter, written: str) -> int:
    if not written.isascii() or not written.isdecimal() or len(written) > 9:
        error = BadInputError("cli.logs.not_a_number", value=repr(written), command=context.command_path)
        raise WrongUseError(error, context)
    return int(written)


@command(
    "logs",
    Message("cli.logs"),
    Option("-f", "--follow", is_flag=True, about=Message("cli.logs.follow")),
    Option("-n", "--lines", metavar="N", default="100", callback=_parse_lines, about=Message("cli.logs.lines")),
    Option("--server", is_flag=True, about=Message("cli.logs.server")),
    examples=("vedette logs -n 50", "vedette logs -f"),
)
def logs_command(speech: Speech, follow: bool, lines: int, server: bool) -> None:
    home = read_home()
    path = home.server_log if server else home.engine_log
    if not path.exists():
        raise NotRunningError("cli.no_log", path=str(path))
    with _open(path) as file:
        for line in _last_lines(file, lines):
            speech.tell({"line": line}, plain(line))
        position = file.tell()
    if follow:
        _follow(path, position, speech)


def _open(path: Path) -> TextIO:
    return io.TextIOWrapper(open_regular(path), encoding="utf-8", errors="replace")


def _last_lines(file: TextIO, count: int) -> Iterable[str]:
    """The file's last lines; none of them is held but those."""
    last: deque[str] = deque(maxlen=count)
    while line := file.readline(_LONGEST_LINE):
        last.append(line.rstrip("\n"))
    return last


def _follow(path: Path, position: int, speech: Speech) -> None:
    """Prints what is added to a log until interrupted; a log that was rotated goes on at its new beginning."""
    while True:
        time.sleep(_LOOK_EVERY_S)
        size = path.stat().st_size if path.exists() else 0
        with contextlib.suppress(FileNotFoundError), _open(path) as file:
            file.seek(position if size >= position else 0)
            while (line := file.readline(_LONGEST_LINE)).endswith("\n") or len(line) == _LONGEST_LINE:
                speech.tell({"line": line.rstrip("\n")}, plain(line.rstrip("\n")))
                position = file.tell()
