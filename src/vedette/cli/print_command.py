"""`vedette up --print`: the engine's exact command line, instead of running it."""

import asyncio
import json
import shlex
from collections.abc import Mapping, Sequence

from vedette.deploy.hosting import host_for
from vedette.deploy.proposal import does_not_fit, propose, read_machine
from vedette.device.boards import device_named
from vedette.device.device import Family
from vedette.engine.vllm.flags import Target, serve_environment
from vedette.settings.home import Home
from vedette.settings.table import Settings

_PORT = 8000
"""vLLM's own default; `up` takes a free one."""


def engine_command(settings: Settings, home: Home, device_name: str | None, as_json: bool) -> str:
    """The command that `up` would run here, or on a board of the catalogue with the paths of this machine.

    For a shell, one option a line; as JSON {kind, version, image, argv, env}.
    Raises VedetteError where `up` would before it fetches anything.
    """
    device = device_named(device_name) if device_name is not None else read_machine(home)
    host = asyncio.run(host_for(device, settings, home, home.slot().workplace))
    proposal = propose(settings, home, device_name, host)
    if not proposal.plan.fits:
        raise does_not_fit(proposal.plan)
    target = Target(proposal.source.path, proposal.source.name, _PORT, device.family is Family.CPU)
    argv = host.arguments(proposal.plan, target)
    # A container's variables are among its arguments.
    variables = {} if host.kind == "container" else serve_environment(home.cache, proposal.plan.settings, host.version)
    if as_json:
        engine = {"kind": host.kind, "version": host.version, "image": host.image}
        return json.dumps({**engine, "argv": list(argv), "env": variables})
    return shell_lines(argv, variables)


def shell_lines(argv: Sequence[str], variables: Mapping[str, str]) -> str:
    """A command line as one pastes it into a shell: a variable or an option with its value a line."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    lines.append("")
    for word in argv:
        valued = lines[-1].startswith("--") and " " in lines[-1]
        if word.startswith("--") or valued:
            lines.append(shlex.quote(word))
        else:
            lines[-1] = f"{lines[-1]} {shlex.quote(word)}".strip()
    return " \\\n  ".join(lines)
