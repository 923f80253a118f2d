"""Options that several commands share; their names are those of `config.Settings`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def wish_options(command: _F) -> _F:
    """What a person may wish of a plan."""
    for option in reversed((
        click.option("--for", "workload", type=click.Choice(["live", "clip", "chat", "api"]),
                     help="What it will mostly be asked; decides what is given up first."),
        click.option("--picture", metavar="WxH", help="Size up to which pictures are seen, like 640x480."),
        click.option("--images", type=int, metavar="N", help="Pictures in one request (0: text alone)."),
        click.option("--context", type=int, metavar="TOKENS", help="Context length (picture, prompt and answer)."),
        click.option("--prompt-tokens", type=int, metavar="TOKENS", help="Longest prompt that must be possible."),
        click.option("--answer-tokens", type=int, metavar="TOKENS", help="Longest answer that must be possible."),
        click.option("--concurrency", type=int, metavar="N", help="Requests served at the same time."),
    )):  # fmt: skip
        command = option(command)
    return command


def serve_options(command: _F) -> _F:
    """How what is planned is served."""
    for option in reversed((
        click.option("--port", type=int, help="Port of page and API (8090 if nothing else is set)."),
        click.option("--host", help="Address to listen on (127.0.0.1; 0.0.0.0 lets the network in)."),
        click.option("--engine", metavar="WHAT", help="auto, environment, container, a directory with vLLM in it, or "
                     "the address of a server that somebody else runs."),
        click.option("--allow-swap/--no-allow-swap", default=None,
                     help="A request that names another installed model changes what is served."),
        click.option("--allow-smaller/--no-allow-smaller", default=None,
                     help="Where not even the least plan fits any more, serve a smaller model of the family."),
        click.option("--wait", "wait_s", type=int, metavar="SECONDS",
                     help="How long requests wait for an engine on its way (60)."),
        click.option("--standby", type=click.Choice(["auto", "on", "off"]),
                     help="A second engine process with its libraries loaded, to be back sooner after a crash."),
    )):  # fmt: skip
        command = option(command)
    return command


def named_models(models: Sequence[str]) -> dict[str, str | None]:
    """MODEL arguments as settings: the first, and those beside it."""
    return {"model": models[0] if models else None, "beside": ", ".join(models[1:]) or None}
