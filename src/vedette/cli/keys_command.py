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
    keys = _key_file().listed()
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


@command("usage", Message("cli.keys.usage"), examples=("vedette keys usage", "vedette keys usage --json"))
def usage_command(speech: Speech) -> None:
    import msgspec

    from vedette.serve.access.usage_book import WITHOUT_KEY, Usage, read_usage

    access = read_home().access
    used = read_usage(access)
    names = [
        *dict.fromkeys([key.name for key in _key_file().listed()] + [name for name in used if name != WITHOUT_KEY])
    ]
    heads = (
        Message("cli.keys.requests"),
        Message("cli.keys.refused"),
        Message("cli.keys.prompt"),
        Message("cli.keys.answer"),
    )
    rows = [("", *map(speech.say, heads))]
    for name in [*names, *([WITHOUT_KEY] if WITHOUT_KEY in used else [])]:
        usage = used.get(name) or Usage()
        counts = (usage.requests, usage.refused, usage.prompt_tokens, usage.answer_tokens)
        rows.append((name or speech.say(Message("cli.keys.without")), *(f"{count:,}" for count in counts)))
    lines = [pad(row[0], _NAME_COLUMNS) + "".join(f"{pad(cell, 14)}" for cell in row[1:]).rstrip() for row in rows]
    document = {name: msgspec.to_builtins(usage) for name, usage in used.items()}
    speech.tell(document, "\n".join(lines) if len(rows) > 1 else Message("cli.keys.unused"))


def _key_file() -> "KeyFile":
    from vedette.serve.access.key_file import KeyFile

    return KeyFile(read_home().access)


keys_command = group("keys", Message("cli.keys"), members=(add_command, list_command, usage_command, revoke_command))
