"""`vedette verify`: parse, call, print, exit code."""

import sys

import click

from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.language.message import Message
from vedette.settings.home import read_home


@command(
    "verify",
    Message("cli.verify"),
    click.Argument(["model"], metavar="MODEL"),
    examples=(
        "vedette verify cosmos-reason2-2b",
        "vedette verify Qwen/Qwen3-0.6B --json | jq .whole",
    ),
)
def verify_command(speech: Speech, model: str) -> None:
    from vedette.models.store.model_lookup import find_model
    from vedette.models.store.upkeep import Basis, Verdict, verify_model

    ref = find_model(model, read_home().models)
    checked = verify_model(ref)
    bad = [each for each in checked if each.verdict is not Verdict.WHOLE]
    unknown = sum(each.basis is Basis.NOTHING for each in checked)
    document = {
        "model": ref.name,
        "path": str(ref.path),
        "whole": not bad,
        "files": [
            {"name": each.name, "verdict": each.verdict.value, "compared_with": each.basis.value} for each in checked
        ],
    }
    if bad:
        names = [each.name for each in bad]
        speech.tell(document, Message("cli.verify.damaged", name=ref.name, files=names, path=str(ref.path)))
        sys.exit(1)
    if unknown:
        speech.tell(document, Message("cli.verify.unknown", name=ref.name, files=len(checked), unknown=unknown))
    else:
        speech.tell(document, Message("cli.verify.whole", name=ref.name, files=len(checked)))
