"""`vedette rm`: parse, call, print, exit code."""

from typing import TYPE_CHECKING

import click

from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.errors import AlreadyRunningError
from vedette.language.message import Message
from vedette.settings.home import read_home

if TYPE_CHECKING:
    from vedette.settings.home import Home


@command(
    "rm",
    Message("cli.rm"),
    click.Argument(["model"], metavar="MODEL"),
    examples=("vedette rm Qwen/Qwen3-0.6B", "vedette rm ngc:nim/nvidia/cosmos-reason2-2b:1208-fp8-static-kv8"),
)
def rm_command(speech: Speech, model: str) -> None:
    from vedette.models.store.model_lookup import find_model
    from vedette.models.store.upkeep import remove_model

    home = read_home()
    ref = find_model(model, home.models)
    if ref.name in _served(home):
        raise AlreadyRunningError("cli.rm.served", name=ref.name)
    freed_bytes = remove_model(ref, home.models)
    document = {"model": ref.name, "removed": True, "freed_bytes": freed_bytes}
    speech.tell(document, Message("cli.rm.removed", name=ref.name, freed_bytes=freed_bytes))


def _served(home: "Home") -> set[str]:
    """The names of the models that a running vedette of this home serves, or is about to."""
    import asyncio

    from vedette.instance.control import read_status, way_to
    from vedette.instance.lock import find

    running = find(home)
    status = asyncio.run(read_status(way_to(home, running.url))) if running else None
    models = status.models if status else ()
    return {name for each in models for name in (each.model, each.next_model) if name}
