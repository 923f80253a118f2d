"""`vedette plan`: what `up` would run, told in several ways. Parse, call, print, exit code."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from vedette.config import read_home, read_settings
from vedette.plan.bars import Paper

_F = TypeVar("_F", bound=Callable[..., Any])

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
LEAST_COLUMNS = 60
MOST_COLUMNS = 120
"""Longer lines are no easier to read."""


def wish_options(command: _F) -> _F:
    """What a person may wish of a plan; the names are those of `config.Settings`."""
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


@click.command()
@click.argument("model", required=False)
@click.option("--device", "device_name", metavar="NAME", help="Plan for a board of the catalogue, not this machine.")
@wish_options
@click.option("--explain", "flag", metavar="FLAG", help="Tell the story of one of vLLM's flags.")
@json_flag
def plan(model: str | None, device_name: str | None, flag: str | None, as_json: bool, **wishes: Any) -> None:
    """Show what `up` would run, with a reason for every number. Exit code 1 when it does not fit.

    \b
    Examples:
      vedette plan
      vedette plan Qwen/Qwen3-VL-2B-Instruct --device orin-nano-8gb --for live
      vedette plan --explain max-model-len
      vedette plan --json | jq .memory
    """
    from vedette.deploy import propose
    from vedette.plan.explain import explain_flag, explain_plan
    from vedette.plan.flagstory import find_flag, story_json

    name = find_flag(flag) if flag is not None else None
    proposal = propose(read_settings({"model": model, **wishes}), read_home(), device_name)
    if name is not None:
        story = story_json(name, proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
        _print(story, explain_flag(story, _paper()), as_json)
        return
    _print(proposal.as_json(), explain_plan(proposal.plan, proposal.arguments, _paper()), as_json)
    sys.exit(0 if proposal.plan.fits else 1)


def _print(document: Any, text: str, as_json: bool) -> None:
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else text)


def _paper() -> Paper:
    """As wide as the terminal, within what can be read; coloured on one that can."""
    columns = shutil.get_terminal_size().columns
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paper(min(max(columns, LEAST_COLUMNS), MOST_COLUMNS), colour)
