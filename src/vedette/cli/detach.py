"""`vedette up --detach`: the same `up` in the background, followed until it serves or ends."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vedette.cli.console.screen import Screen, make_screen
from vedette.cli.console.speech import Speech
from vedette.errors import DiskFullError, EngineFailedError, VedetteError
from vedette.events import Event, Failed, Note, Ready, Stopped, parse_event
from vedette.files import open_log, open_regular
from vedette.instance.lock import refuse_second
from vedette.language.message import Message
from vedette.serve.access.owner_key import owner_link
from vedette.settings.home import Home

_LOOK_EVERY_S = 0.1
_LEAST_FREE_BYTES = 65_536
"""With less, the log of a start does not fit."""


def start_detached(home: Home, arguments: Sequence[str], speech: Speech) -> None:
    """Starts `vedette up` with these arguments in the background and shows its events until it serves.

    Exits with its exit code if it ends before. Raises AlreadyRunningError.
    """
    refuse_second(home)  # before its log is overwritten
    screen = make_screen(speech, owner_link(home.access))
    with open_log(home.server_log, emptied=True) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vedette", "up", "--json", *arguments],
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # do not import modules from the current directory
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        last = _follow(process, home.server_log, screen)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if not isinstance(last, Ready):
        code = process.wait() or 1
        if not isinstance(last, (Failed, Stopped)):
            raise _unsaid(home.server_log, code)
        sys.exit(code)


def _follow(process: "subprocess.Popen[bytes]", log: Path, screen: Screen) -> Event | None:
    """Shows the events that a background vedette writes until it serves or ends; returns the last one."""
    last: Event | None = None
    line = ""
    with io.TextIOWrapper(open_regular(log), encoding="utf-8", errors="replace") as events:
        while not isinstance(last, (Ready, Failed)):
            ended = process.poll() is not None
            line += events.readline()
            if line.endswith("\n"):
                last, line = _parse_line(line), ""
                screen.show(last)
            elif ended:
                break
            else:
                time.sleep(_LOOK_EVERY_S)
                screen.tick()
    return last


def _unsaid(log: Path, code: int) -> VedetteError:
    """The error for a background vedette that has not said why it ended: on a full disk it cannot."""
    if shutil.disk_usage(log.parent).free < _LEAST_FREE_BYTES:
        return DiskFullError("cli.disk_full_at", path=str(log))
    return EngineFailedError("cli.detached_ended", code=code, log=str(log))


def _parse_line(line: str) -> Event:
    try:
        return parse_event(json.loads(line))
    except ValueError:  # a traceback or a warning of the background process: shown as it is
        return Note(Message("errors.verbatim", sentence=line.rstrip(), hint=""))
