"""`vedette swap`: another model in the place of one that is served. Parse, call, print, exit code."""

from pathlib import Path

import click

from vedette.cli.console.bilingual import Option
from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.errors import NotRunningError
from vedette.language.message import Message
from vedette.settings.home import read_home


@command(
    "swap",
    Message("cli.swap"),
    click.Argument(["model"], metavar="MODEL"),
    Option("--replace", metavar="MODEL", about=Message("cli.swap.replace")),
    examples=("vedette swap ernie-4.5-0.3b", "vedette swap ./my-model --replace vedette-tiny"),
)
def swap_command(speech: Speech, model: str, replace: str | None) -> None:
    from vedette.instance.lock import find

    home = read_home()
    running = find(home)
    if running is None:
        raise NotRunningError("cli.swap.not_running", model=model)
    if model.startswith((".", "~")):  # the running vedette may have been started in another directory
        model = str(Path(model).expanduser().absolute())
    import asyncio

    from vedette.cli.console.screen import make_screen
    from vedette.instance.control import swap, way_to

    notify = None if speech.as_json else make_screen(speech).show
    answer = asyncio.run(swap(way_to(home, running.url), model, replace, notify))
    elapsed_s = answer["elapsed_ms"] / 1000
    speech.tell(answer, Message("cli.swap.done", model=str(answer["model"]), elapsed_s=elapsed_s))
