"""`vedette service`: vedette as a systemd service. Parse, call, print, exit code."""

import asyncio
import json
import os
import pwd
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vedette.cli.options import json_flag, named_models, serve_options, wish_options
from vedette.errors import ServiceError
from vedette.instance import lock as instance
from vedette.settings.home import home_paths
from vedette.settings.load import read_settings
from vedette.settings.table import SETTINGS, command_arguments
from vedette.systemd.unit import (
    Account,
    Service,
    install,
    lingers,
    read_state,
    remove,
    service_home,
    unit_path,
    unit_text,
)

_SETTINGS = {setting.variable: name for name, setting in SETTINGS.items()}
_PLACES = ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYTHONPATH")
"""What else decides which vedette runs and where it keeps its things."""
_PEOPLE = range(1000, 60_000)
"""User numbers that people have."""

system_flag = click.option("--system", is_flag=True, help="The system's service instead of your own (needs root).")


@click.group()
def service() -> None:
    """Keep vedette running with systemd: started at boot, restarted when it fails, logged to the journal.

    \b
    Examples:
      vedette service install
      vedette service status
      vedette service remove
    """


@service.command("install")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@system_flag
@click.option("--run-as", metavar="USER", help="Who runs the system's service (else who called sudo).")
@serve_options
@wish_options
@click.option("--print", "only_print", is_flag=True, help="Show the unit; change nothing.")
@json_flag
def install_command(
    models: tuple[str, ...], system: bool, run_as: str | None, only_print: bool, as_json: bool, **flags: Any
) -> None:
    """Install, enable and start the service; again to change what it was given.

    It runs `vedette up` of this very installation with these arguments, and with the VEDETTE_ settings of the
    environment. Other variables (HF_TOKEN, PIP_INDEX_URL) are added with `systemctl edit --user vedette`.

    \b
    Examples:
      vedette service install
      vedette service install vedette-tiny --port 9000 --for live
      vedette service install --print
      sudo vedette service install --system --run-as camera --host 0.0.0.0
    """
    made, path = _make_service(system, run_as, {**named_models(models), **flags}), unit_path(system)
    if only_print:
        unit = unit_text(made)
        click.echo(json.dumps({"unit_path": str(path), "unit": unit}) if as_json else unit, nl=as_json)
        return
    _refuse_wrong_rights(system)
    install(made, path)
    notes = _notes(made)
    if as_json:
        facts = {"installed": True, "unit_path": str(path), "system": system, "user": made.account.name}
        click.echo(json.dumps({**facts, "notes": notes}))
        return
    scope, user = ("--system", "") if system else ("", "--user ")
    click.echo(f"Installed {path}: enabled and started; it runs as {made.account.name}.")
    click.echo(f"  See `{f'vedette service status {scope}'.rstrip()}` and `journalctl {user}-u vedette -f`.")
    for note in notes:
        click.echo(f"  {note}")


@service.command("remove")
@system_flag
@json_flag
def remove_command(system: bool, as_json: bool) -> None:
    """Stop, disable and remove the service; engines, models and settings stay.

    \b
    Examples:
      vedette service remove
      sudo vedette service remove --system
    """
    _refuse_wrong_rights(system)
    path = unit_path(system)
    remove(system, path)
    click.echo(json.dumps({"removed": True, "unit_path": str(path)}) if as_json else f"Stopped and removed {path}.")


@service.command("status")
@system_flag
@json_flag
def status_command(system: bool, as_json: bool) -> None:
    """Say whether the service is installed and what it does. Exit code 0 when ready, 3 when not running, 4 otherwise.

    \b
    Examples:
      vedette service status
      vedette service status --system --json | jq .active
    """
    state, path = read_state(system), unit_path(system)
    running = state["ActiveState"] in ("active", "activating", "reloading", "deactivating")
    found = _ask_vedette(state) if running else None
    facts = {
        "installed": path.exists(),
        "enabled": state["UnitFileState"] in ("enabled", "enabled-runtime"),
        "active": state["ActiveState"],
        "detail": state["SubState"],
        "since": state["ActiveEnterTimestamp"] or None,
        "restarts": int(state["NRestarts"] or 0),
        "result": state["Result"] or None,
        "unit_path": str(path),
        "state": found["state"] if found else None,
        "model": found["model"] if found else None,
        "page_url": found["page_url"] if found else None,
    }
    click.echo(json.dumps(facts, ensure_ascii=False) if as_json else _describe(facts, system))
    sys.exit((0 if found and found["state"] == "ready" else 4) if running else 3)


def _make_service(system: bool, run_as: str | None, flags: Mapping[str, Any]) -> Service:
    """What is to run, checked as far as `vedette up` would check it before it starts. Raises VedetteError."""
    if run_as is not None and not system:
        raise click.UsageError("--run-as is for --system; your own service runs as you.")
    account = _whom_the_system_runs_as(run_as) if system else _own_account()
    inherited = {name: value for name, value in os.environ.items() if name.startswith("VEDETTE_")}
    surroundings = {"HOME": str(account.home), **inherited} if system else dict(os.environ)
    settings, home = read_settings(flags, surroundings), home_paths(surroundings)
    model, directory = _settled_model(settings.model, home.models)
    given = {name: value for name, value in flags.items() if value is not None}
    environment = {"PYTHONSAFEPATH": "1"}  # a module in the directory that it starts in is none of ours
    for name in (*_SETTINGS, "VEDETTE_HOME", "VEDETTE_CONFIG", *(() if system else _PLACES)):
        value = os.environ.get(name)
        if value and _SETTINGS.get(name) not in given:
            environment[name] = value
    for name in {"VEDETTE_HOME", "VEDETTE_CONFIG"} & environment.keys():
        environment[name] = str(Path(environment[name]).expanduser().resolve())
    for holder, name in ((given, "model"), (environment, "VEDETTE_MODEL")):
        if name in holder and model is not None:
            holder[name] = model
    code = (Path(sys.prefix), Path(__file__).parents[1])
    python = Path(sys.executable).parent.resolve() / Path(sys.executable).name  # a virtual environment's own link
    return Service(
        system=system,
        account=account,
        program=(str(python), "-m", "vedette"),
        arguments=("up", *command_arguments(given)),
        environment=environment,
        home=home,
        reads=(*code, *([directory] if directory else [])),
    )


def _settled_model(wanted: str | None, models_dir: Path) -> tuple[str | None, Path | None]:
    """The model as it is named from any directory, and the directory if it is one."""
    if wanted is None:
        return None, None
    from vedette.models.store.model_lookup import find_model

    source = find_model(wanted, models_dir)
    is_directory = source.hub_id is None and source.entry is None
    directory = source.path.resolve()
    return (str(directory), directory) if is_directory else (wanted, None)


def _own_account() -> Account:
    own = pwd.getpwuid(os.getuid())
    return Account(own.pw_name, own.pw_uid, own.pw_gid, Path(os.environ.get("HOME") or own.pw_dir))


def _whom_the_system_runs_as(run_as: str | None) -> Account:
    """Never root, unless nobody else is there. Raises ServiceError."""
    people = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid in _PEOPLE]
    caller = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    name = run_as or (caller if caller != "root" or not people else None)
    if name is None:
        raise ServiceError(
            "vedette does not run as root where there are other users.",
            f"Say who is to run it: `--run-as {people[0]}`.",
        )
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        known = f"The users are {', '.join(people)}." if people else "Make one with `useradd --create-home vedette`."
        raise ServiceError(f"There is no user {name!r} on this machine.", known) from error
    if entry.pw_uid == 0 and people:
        raise ServiceError(
            "vedette does not run as root where there are other users.",
            f"Say who is to run it: `--run-as {people[0]}`.",
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def _refuse_wrong_rights(system: bool) -> None:
    root = os.geteuid() == 0
    command = shlex.join([sys.executable, "-m", "vedette", *sys.argv[1:]])
    if system and not root:
        raise ServiceError("Only root can change the system's services.", f"Run `sudo {command}`.")
    if root and not system and os.environ.get("SUDO_USER"):
        raise ServiceError(
            "With sudo this would be root's own service, not yours.", "Leave out sudo, or add `--system`."
        )


def _notes(made: Service) -> list[str]:
    """What the person should know of an installed service."""
    notes = []
    if made.account.uid == 0:
        notes.append("It runs as root: make another user and install it with `--system --run-as NAME` to avoid that.")
    if not made.system and not lingers(made.account):
        notes.append("It runs only while you are logged in; `loginctl enable-linger` lets it start at boot and stay.")
    return notes


def _ask_vedette(state: Mapping[str, str]) -> Mapping[str, Any] | None:
    """What the service's vedette says of itself; None when it does not answer, or is not ours to ask."""
    from vedette.instance import run

    running = instance.find(service_home(state))
    return asyncio.run(run.ask_status(running.url)) if running else None


def _describe(facts: Mapping[str, Any], system: bool) -> str:
    if not facts["installed"]:
        return f"vedette is not installed as a {'system' if system else 'user'} service."
    since = f" since {facts['since']}" if facts["since"] and facts["active"] == "active" else ""
    failed = f", {facts['result']}" if facts["result"] not in (None, "success") else ""
    rows = {
        "service": facts["unit_path"],
        "enabled": "yes" if facts["enabled"] else "no",
        "active": f"{facts['active']} ({facts['detail']}{failed}){since}",
        "restarts": facts["restarts"] or None,
        "vedette": facts["state"],
        "model": facts["model"],
        "page": facts["page_url"],
    }
    return "\n".join(f"{name:<9}{value}" for name, value in rows.items() if value is not None)
