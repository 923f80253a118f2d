"""`vedette status`: parse, call, print, exit code."""

import sys
from typing import TYPE_CHECKING

from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.errors import NotRunningError
from vedette.language.columns import pad
from vedette.language.foreign_text import plain
from vedette.language.message import Message, hint_of
from vedette.settings.home import read_home

if TYPE_CHECKING:
    from vedette.events import ServiceStatus

_NOTHING = dict.fromkeys(("phase", "cause", "model", "page_url", "api_url", "engine_pid", "plan"))


@command("status", Message("cli.status"), examples=("vedette status", "vedette status --json | jq .state"))
def status_command(speech: Speech) -> None:
    from vedette.instance.lock import find

    home = read_home()
    running = find(home)
    if running is None:
        speech.tell({"state": "stopped", **_NOTHING, "models": []}, Message("cli.status.stopped"))
        sys.exit(3)
    import asyncio

    from vedette.events import status_json
    from vedette.instance.control import read_status, way_to

    status = asyncio.run(read_status(way_to(home, running.url)))
    if status is None:
        raise NotRunningError("instance.no_answer", pid=running.pid, url=running.url)
    speech.tell(status_json(status), "\n".join(_lines(status, speech)))
    sys.exit(0 if status.models[0].state.value == "ready" else 4)


def _lines(status: "ServiceStatus", speech: Speech) -> list[str]:
    """Each model with its state, then the addresses."""
    from vedette.cli.console.screen import state_message

    lines = []
    for each in status.models:
        lines.append(speech.say(state_message(each.status)))
        cause = each.status.cause
        if cause is not None:
            lines += [f"  ✗ {speech.say(cause.message)}", f"  → {hint_of(cause.message, speech.language) or ''}"]
        lines += _rows(
            speech,
            (Message("cli.label.model"), each.model),
            (Message("cli.label.next_model"), each.next_model),
            (Message("cli.label.engine"), each.engine_pid),
        )
    first = status.models[0]
    return [
        *lines,
        *_rows(speech, (Message("cli.label.page"), first.page_url), (Message("cli.label.api"), first.api_url)),
    ]


def _rows(speech: Speech, *rows: tuple[Message, object]) -> list[str]:
    return [f"  {pad(speech.say(label), 8)}{plain(str(value))}" for label, value in rows if value is not None]
