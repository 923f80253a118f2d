"""`vedette keys`: the keys of clients. Parse, call, print, exit code."""

import time
from typing import TYPE_CHECKING

import click

from vedette.cli.console.bilingual import Option
from vedette.cli.console.options import command, group
from vedette.cli.console.speech import Speech
from vedette.language.columns import pad
from vedette.language.message import Message
from vedette.settings.home import read_home

if TYPE_CHECKING:
    from vedette.serve.access.key_file import KeyFile

_ROLES = ("look", "use", "admin")
_NAME_COLUMNS = 20


@command(
    "add",
    Message("cli.keys.add"),
    click.Argument(["name"], metavar="NAME"),
    Option("--role", type=click.Choice(_ROLES), default="use", about=Message("cli.keys.role")),
    examples=("vedette keys add lab-camera", "vedette keys add anna --role admin"),
)
def add_command(speech: Speech, name: str, role: str) -> None:
    key = _key_file().add(name, role)
    speech.tell({"name": name, "role": role, "key": key}, f"{key}\n{speech.say(Message('cli.keys.shown_once'))}")


@command("list", Message("cli.keys.list"), examples=("vedette keys list",))
def list_command(speech: Speech) -> None:
    keys = _key_file().keys()
    if not keys and not speech.as_json:
        speech.tell([], Message("cli.keys.none"))
        return
    rows = [
        f"{pad(key.name, _NAME_COLUMNS)}{pad(key.role, 7)}{time.strftime('%Y-%m-%d', time.localtime(key.created))}"
        for key in keys
    ]
    speech.tell([{"name": key.name, "role": key.role, "created": key.created} for key in keys], "\n".join(rows))


@command(
    "revoke",
    Message("cli.keys.revoke"),
    click.Argument(["name"], metavar="NAME"),
    examples=("vedette keys revoke anna",),
)
def revoke_command(speech: Speech, name: str) -> None:
    _key_file().revoke(name)
    speech.tell({"name": name, "revoked": True}, Message("cli.keys.revoked", name=name))


def _key_file() -> "KeyFile":
    from vedette.serve.access.key_file import KeyFile

    return KeyFile(read_home().access)


keys_group = group("keys", Message("cli.keys"), members=(add_command, list_command, revoke_command))
