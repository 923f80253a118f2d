"""`vedette plan`: what `up` would run, shown in several ways. Parse, call, print, exit code."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedette.cli.console.bilingual import Option
from vedette.cli.console.options import command, models_argument, setting_options
from vedette.cli.console.speech import Speech
from vedette.cli.console.usage import WrongUseError
from vedette.errors import BadInputError, DeviceError, EngineFailedError, ModelNotFoundError
from vedette.files import read_whole
from vedette.language.message import Message
from vedette.settings.home import Home, read_home
from vedette.settings.load import read_settings
from vedette.settings.table import named_models

if TYPE_CHECKING:
    from vedette.deploy.planning import Proposal
    from vedette.report.paper import Paper

LEAST_COLUMNS = 60
MOST_PLAN_BYTES = 8_000_000
"""Of a saved plan; they have 20 kB."""
MOST_COLUMNS = 120
"""Longer lines are harder to read."""


@command(
    "plan",
    Message("cli.plan"),
    models_argument(),
    Option("--device", "device_name", metavar="NAME", about=Message("cli.plan.device")),
    *setting_options("plan"),
    Option("--explain", "flag", metavar="FLAG", about=Message("cli.plan.explain")),
    Option("--diff", nargs=2, metavar="A B", about=Message("cli.plan.diff")),
    Option("--try", "try_it", is_flag=True, about=Message("cli.plan.try")),
    examples=(
        "vedette plan",
        "vedette plan Qwen/Qwen3-VL-2B-Instruct --device orin-nano-8gb --for live",
        "vedette plan ./my-model --picture 640x480 --answer-tokens 150",
        "vedette plan cosmos-reason2-2b ernie-4.5-0.3b --device agx-orin-32gb",
        "vedette plan --explain max-model-len",
        "vedette plan --diff orin-nano-8gb orin-nx-16gb",
        "vedette plan --try",
        "vedette plan --json | jq .memory",
    ),
)
def plan_command(
    speech: Speech,
    models: tuple[str, ...],
    device_name: str | None,
    flag: str | None,
    diff: tuple[str, str] | None,
    try_it: bool,
    **flags: Any,
) -> None:
    if (flag is not None) + (diff is not None) + try_it > 1:
        raise WrongUseError(BadInputError("cli.plan.one_of", command="vedette plan"))
    if len(models) > 1 and (flag is not None or diff is not None or try_it):
        raise WrongUseError(BadInputError("cli.plan.one_model", command="vedette plan"))
    asked = Asked({**named_models(models[:1]), **flags}, device_name, read_home())
    if len(models) > 1:
        _pack(asked, models, speech)
    elif diff is not None:
        _compare(asked, diff, speech)
    elif flag is not None:
        _tell_story(asked, flag, speech)
    elif try_it:
        _try(asked, speech)
    else:
        _show(asked, speech)


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    flags: Mapping[str, Any]
    """Values for `settings.load.read_settings`."""
    device_name: str | None
    home: Home

    def propose(self) -> "Proposal":
        from vedette.deploy.proposing import propose

        return propose(read_settings(self.flags), self.home, self.device_name)


def _show(asked: Asked, speech: Speech) -> None:
    from vedette.report.explain import explain_plan

    proposal = asked.propose()
    speech.tell(proposal.as_json(), explain_plan(proposal.plan, proposal.arguments, _paper(speech)))
    sys.exit(0 if proposal.plan.fits and not proposal.plan.ignored else 1)


def _pack(asked: Asked, models: tuple[str, ...], speech: Speech) -> None:
    from vedette.deploy.proposing import propose_packed
    from vedette.report.packing import explain_packing

    packed = propose_packed(read_settings(asked.flags), models, asked.home, asked.device_name)
    together = [(proposal.plan, proposal.arguments) for proposal in packed.together]
    in_turns = [proposal.plan for proposal in packed.in_turns]
    speech.tell(packed.as_json(), explain_packing(together, in_turns, packed.room, _paper(speech)))
    sys.exit(1 if in_turns else 0)


def _tell_story(asked: Asked, flag: str, speech: Speech) -> None:
    from vedette.report.flag_story import explain_flag, flag_story, story_json
    from vedette.report.flag_table import find_flag

    name = find_flag(flag)
    proposal = asked.propose()
    story = flag_story(name, proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
    speech.tell(story_json(story), explain_flag(story, _paper(speech)))


def _try(asked: Asked, speech: Speech) -> None:
    import asyncio

    from vedette.cli.console.screen import make_screen
    from vedette.events import OutcomeMeasured, event_json
    from vedette.instance.run import try_plan
    from vedette.report.outcome import explain_outcomes, outcomes, outcomes_json

    if asked.device_name is not None:
        raise BadInputError("cli.plan.try_elsewhere")
    tried = asyncio.run(try_plan(read_settings(asked.flags), asked.home, make_screen(speech)))
    if tried is None:
        sys.exit(130)
    made, calibration = tried
    if calibration is None:
        raise EngineFailedError("cli.plan.not_measured")
    found = outcomes(made, calibration)
    speech.tell(event_json(OutcomeMeasured(outcomes_json(found))), f"\n{explain_outcomes(found, _paper(speech))}")


def _compare(asked: Asked, names: tuple[str, str], speech: Speech) -> None:
    from vedette.report.diff import diff_json, differences, explain_diff

    a, b = (_side(asked, name, speech) for name in names)
    found = differences(a, b)
    speech.tell(diff_json(names, found), explain_diff(names, found, _paper(speech)))


def _side(asked: Asked, name: str, speech: Speech) -> dict[str, Any]:
    """The plan that one side of a comparison names: a saved one, that of a device, or that of a model."""
    from vedette.report.diff import parse_plan

    if name.endswith(".json") or _is_file(name):
        try:
            return parse_plan(read_whole(Path(name), MOST_PLAN_BYTES).decode(), name)
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError("cli.plan.unreadable", path=name, error=str(error)) from error
    try:
        return replace(asked, device_name=name).propose().as_json()
    except DeviceError as no_device:
        try:
            return replace(asked, flags={**asked.flags, "model": name}).propose().as_json()
        except ModelNotFoundError as no_model:
            if "/" in name:  # a hub's id or a directory can be nothing else
                raise
            raise BadInputError(
                "cli.plan.unknown_side",
                name=name,
                no_device=speech.hint(no_device),
                no_model=speech.hint(no_model),
            ) from no_model


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # a name that no file system takes
        return False


def _paper(speech: Speech) -> "Paper":
    """As wide as the terminal, within what can be read; coloured on one that can."""
    from vedette.report.paper import Paper

    columns = shutil.get_terminal_size().columns
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paper(min(max(columns, LEAST_COLUMNS), MOST_COLUMNS), colour, speech.language)
