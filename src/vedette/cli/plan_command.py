"""`vedette plan`: what `up` would run, told in several ways. Parse, call, print, exit code."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vedette.cli.options import json_flag, wish_options
from vedette.errors import BadInputError, DeviceError, EngineFailedError, ModelNotFoundError
from vedette.events import Measured, event_json
from vedette.report.paper import Paper
from vedette.settings.home import Home, read_home
from vedette.settings.load import read_settings

if TYPE_CHECKING:
    from vedette.deploy.proposal import Proposal

LEAST_COLUMNS = 60
MOST_COLUMNS = 120
"""Longer lines are no easier to read."""


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--device", "device_name", metavar="NAME", help="Plan for a board of the catalogue, not this machine.")
@wish_options
@click.option("--explain", "flag", metavar="FLAG", help="Tell the story of one of vLLM's flags.")
@click.option("--diff", nargs=2, metavar="A B", help="What differs between two devices, models or saved plans.")
@click.option("--try", "try_it", is_flag=True, help="Start the engine with it and show what it then took.")
@json_flag
def plan(
    models: tuple[str, ...],
    device_name: str | None,
    flag: str | None,
    diff: tuple[str, str] | None,
    try_it: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Show what `up` would run, with a reason for every number. Exit code 1 when it does not fit.

    Several models are planned side by side on one device.

    \b
    Examples:
      vedette plan
      vedette plan Qwen/Qwen3-VL-2B-Instruct --device orin-nano-8gb --for live
      vedette plan ./my-model --picture 640x480 --answer-tokens 150
      vedette plan cosmos-reason2-2b ernie-4.5-0.3b --device agx-orin-32gb
      vedette plan --explain max-model-len
      vedette plan --diff orin-nano-8gb orin-nx-16gb
      vedette plan --try
      vedette plan --json | jq .memory
    """
    if (flag is not None) + (diff is not None) + try_it > 1:
        raise click.UsageError("Choose one of --explain, --diff and --try.")
    if len(models) > 1 and (flag is not None or diff is not None or try_it):
        raise click.UsageError("--explain, --diff and --try are for one model.")
    asked = Asked({"model": models[0] if models else None, **wishes}, device_name, read_home())
    if len(models) > 1:
        _pack(asked, models, as_json)
    elif diff is not None:
        _compare(asked, diff, as_json)
    elif flag is not None:
        _tell_story(asked, flag, as_json)
    elif try_it:
        _try(asked, as_json)
    else:
        _show(asked, as_json)


@dataclass(frozen=True)
class Asked:
    """What the command line says of a plan."""

    flags: Mapping[str, Any]
    """Values for `config.read_settings`."""
    device_name: str | None
    home: Home

    def propose(self) -> "Proposal":
        from vedette.deploy.proposal import propose

        return propose(read_settings(self.flags), self.home, self.device_name)


def _show(asked: Asked, as_json: bool) -> None:
    from vedette.report.explain import explain_plan

    proposal = asked.propose()
    _print(proposal.as_json(), explain_plan(proposal.plan, proposal.arguments, _paper()), as_json)
    sys.exit(0 if proposal.plan.fits else 1)


def _pack(asked: Asked, models: tuple[str, ...], as_json: bool) -> None:
    from vedette.deploy.proposal import propose_packed
    from vedette.report.packing import explain_packing

    packed = propose_packed(read_settings(asked.flags), models, asked.home, asked.device_name)
    together = [(proposal.plan, proposal.arguments) for proposal in packed.together]
    in_turns = [proposal.plan for proposal in packed.in_turns]
    _print(packed.as_json(), explain_packing(together, in_turns, packed.room, _paper()), as_json)
    sys.exit(1 if in_turns else 0)


def _tell_story(asked: Asked, flag: str, as_json: bool) -> None:
    from vedette.report.flag_story import explain_flag, flag_story, story_json
    from vedette.report.flag_table import find_flag

    name = find_flag(flag)
    proposal = asked.propose()
    story = flag_story(name, proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
    _print(story_json(story), explain_flag(story, _paper()), as_json)


def _try(asked: Asked, as_json: bool) -> None:
    from vedette.cli.screen import make_screen
    from vedette.instance.run import try_plan
    from vedette.report.outcome import explain_outcomes, outcomes, outcomes_json

    if asked.device_name is not None:
        raise BadInputError("A plan can only be tried on this machine.", "Leave out `--device`.")
    tried = asyncio.run(try_plan(read_settings(asked.flags), asked.home, make_screen(as_json)))
    if tried is None:
        sys.exit(130)
    made, calibration = tried
    if calibration is None:
        raise EngineFailedError("The engine started, but what it took could not be measured.", "See `vedette logs`.")
    found = outcomes(made, calibration)
    _print(event_json(Measured(outcomes_json(found))), f"\n{explain_outcomes(found, _paper())}", as_json)


def _compare(asked: Asked, names: tuple[str, str], as_json: bool) -> None:
    from vedette.report.diff import diff_json, differences, explain_diff

    a, b = (_side(asked, name) for name in names)
    found = differences(a, b)
    _print(diff_json(names, found), explain_diff(names, found, _paper()), as_json)


def _side(asked: Asked, name: str) -> dict[str, Any]:
    """The plan that one side of a comparison names: a saved one, that of a device, or that of a model."""
    from vedette.report.diff import parse_plan

    if name.endswith(".json") or _is_file(name):
        try:
            return parse_plan(Path(name).read_text(encoding="utf-8"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"The saved plan {name} cannot be read ({error}).", "Name another file.") from error
    try:
        return replace(asked, device_name=name).propose().as_json()
    except DeviceError as no_device:
        try:
            return replace(asked, flags={**asked.flags, "model": name}).propose().as_json()
        except ModelNotFoundError as no_model:
            if "/" in name:  # a hub's id or a directory can be nothing else
                raise
            raise BadInputError(
                f"{name!r} is neither a device, nor a model, nor a saved plan.", f"{no_device.hint} {no_model.hint}"
            ) from no_model


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # a name that no file system takes
        return False


def _print(document: Any, text: str, as_json: bool) -> None:
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else text)


def _paper() -> Paper:
    """As wide as the terminal, within what can be read; coloured on one that can."""
    columns = shutil.get_terminal_size().columns
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paper(min(max(columns, LEAST_COLUMNS), MOST_COLUMNS), colour)
