"""`vedette up --print`: the engine's exact command line, instead of running it."""

import asyncio
import shlex
from collections.abc import Mapping, Sequence

from vedette.deploy.hosting import host_for
from vedette.deploy.planning import does_not_fit
from vedette.deploy.proposing import propose, read_machine
from vedette.device.boards import device_named
from vedette.language.foreign_text import plain_json, plain_page
from vedette.settings.home import Home
from vedette.settings.table import Settings


def engine_command(settings: Settings, home: Home, device_name: str | None, as_json: bool) -> str:
    """The command that `up` would run here, or on a board of the catalogue with the paths of this machine.

    For a shell, one option a line; as JSON {kind, version, image, argv, env}.
    Raises VedetteError where `up` would before it downloads anything.
    """
    device = device_named(device_name) if device_name is not None else read_machine(home)
    host = asyncio.run(host_for(device, settings, home, home.slot().workplace))
    proposal = propose(settings, home, device_name, host)
    if not proposal.plan.fits:
        raise does_not_fit(proposal.plan)
    argv = host.arguments(proposal.plan, proposal.target)
    # A container's variables are among its arguments.
    variables = {} if host.kind == "container" else proposal.variables
    if as_json:
        engine = {"kind": host.kind, "version": host.version, "image": host.image}
        return plain_json({**engine, "argv": list(argv), "env": variables})
    return plain_page(shell_lines(argv, variables))


def shell_lines(argv: Sequence[str], variables: Mapping[str, str]) -> str:
    """A command line to paste into a shell: one variable, or one option with its value, a line."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    lines.append("")
    for word in argv:
        valued = lines[-1].startswith("--") and " " in lines[-1]
        if word.startswith("--") or valued:
            lines.append(shlex.quote(word))
        else:
            lines[-1] = f"{lines[-1]} {shlex.quote(word)}".strip()
    return " \\\n  ".join(lines)
