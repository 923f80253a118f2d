"""`vedette service`: vedette as a systemd service. Parse, call, print, exit code."""

import os
import pwd
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedette.cli.console.bilingual import Option
from vedette.cli.console.options import command, group, models_argument, setting_options
from vedette.cli.console.speech import Speech
from vedette.cli.console.usage import WrongUseError
from vedette.errors import BadInputError, ServiceError
from vedette.language.columns import pad
from vedette.language.message import Message, say
from vedette.settings.home import home_paths
from vedette.settings.load import read_settings
from vedette.settings.table import SETTINGS, command_arguments, named_models
from vedette.systemd.systemctl import install, lingers, read_state, remove, service_home, unit_path
from vedette.systemd.unit import Account, Service, unit_text

if TYPE_CHECKING:
    from vedette.events import ServiceStatus

_PLACES = ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYTHONPATH")
"""Other variables that decide which vedette runs and where it keeps its files."""
_PATHS = ("VEDETTE_HOME", "VEDETTE_CONFIG")
_PEOPLE = range(1000, 60_000)
"""User numbers that people have."""


def _system_flag() -> Option:
    return Option("--system", is_flag=True, about=Message("cli.service.system"))


@command(
    "install",
    Message("cli.service.install"),
    models_argument(),
    _system_flag(),
    Option("--run-as", metavar="USER", about=Message("cli.service.run_as")),
    *setting_options("service install"),
    Option("--print", "only_print", is_flag=True, about=Message("cli.service.print")),
    examples=(
        "vedette service install",
        "vedette service install vedette-tiny --port 9000 --for live",
        "vedette service install --print",
        "sudo vedette service install --system --run-as camera --host 0.0.0.0 --https",
    ),
)
def install_command(
    speech: Speech, models: tuple[str, ...], system: bool, run_as: str | None, only_print: bool, **flags: Any
) -> None:
    made, path = _make_service(system, run_as, {**named_models(models), **flags}), unit_path(system)
    if only_print:
        unit = unit_text(made)
        speech.tell({"unit_path": str(path), "unit": unit}, unit.rstrip("\n"))
        return
    _refuse_wrong_rights(system)
    install(made, path)
    notes = _notes(made)
    if system:
        about = Message("cli.service.installed_system", path=str(path), user=made.account.name)
    else:
        about = Message("cli.service.installed", path=str(path), user=made.account.name)
    speech.tell(
        {
            "installed": True,
            "unit_path": str(path),
            "system": system,
            "user": made.account.name,
            "notes": [say(note) for note in notes],
        },
        "\n  ".join(map(speech.say, [about, *notes])),
    )


@command(
    "remove",
    Message("cli.service.remove"),
    _system_flag(),
    examples=("vedette service remove", "sudo vedette service remove --system"),
)
def remove_command(speech: Speech, system: bool) -> None:
    _refuse_wrong_rights(system)
    path = unit_path(system)
    remove(system, path)
    speech.tell({"removed": True, "unit_path": str(path)}, Message("cli.service.removed", path=str(path)))


@command(
    "status",
    Message("cli.service.status"),
    _system_flag(),
    examples=("vedette service status", "vedette service status --system --json | jq .active"),
)
def service_status_command(speech: Speech, system: bool) -> None:
    state, path = read_state(system), unit_path(system)
    running = state["ActiveState"] in ("active", "activating", "reloading", "deactivating")
    status = _ask_vedette(state) if running else None
    first = status.models[0] if status else None
    facts = {
        "installed": path.exists(),
        "enabled": state["UnitFileState"] in ("enabled", "enabled-runtime"),
        "active": state["ActiveState"],
        "detail": state["SubState"],
        "since": state["ActiveEnterTimestamp"] or None,
        "restarts": int(state["NRestarts"] or 0),
        "result": state["Result"] or None,
        "unit_path": str(path),
        "state": first.state.value if first else None,
        "model": first.model if first else None,
        "page_url": first.page_url if first else None,
    }
    speech.tell(facts, _describe(facts, system, speech))
    sys.exit((0 if facts["state"] == "ready" else 4) if running else 3)


service_command = group(
    "service", Message("cli.service"), members=(install_command, remove_command, service_status_command)
)


def _make_service(system: bool, run_as: str | None, flags: Mapping[str, Any]) -> Service:
    """The service, checked as far as `vedette up` checks before it starts. Raises VedetteError."""
    if run_as is not None and not system:
        raise WrongUseError(BadInputError("cli.service.run_as_without_system", command="vedette service install"))
    from vedette.instance.exposure import exposure_of

    account = _system_account(run_as) if system else _own_account()
    inherited = {name: value for name, value in os.environ.items() if name.startswith("VEDETTE_")}
    surroundings = {"HOME": str(account.home), **inherited} if system else dict(os.environ)
    settings, home = read_settings(flags, surroundings), home_paths(surroundings)
    exposure_of(settings)
    model, directory = _settled_model(settings.model, home.models)
    given = {name: value for name, value in flags.items() if value is not None}
    for name in ("tls_cert", "tls_key"):  # a service runs in another directory
        if name in given:
            given[name] = str(Path(given[name]).expanduser().absolute())
    environment = _service_environment(given, system)
    for holder, name in ((given, "model"), (environment, SETTINGS["model"].variable)):
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


def _service_environment(given: Mapping[str, Any], system: bool) -> dict[str, str]:
    """The variables that the service gets: the settings of this environment that no argument overrules, and places."""
    settings = [each.variable for each in SETTINGS.values() if each.name not in given]
    names = [*settings, *_PATHS, *(() if system else _PLACES)]
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    paths = {name: str(Path(found[name]).expanduser().resolve()) for name in _PATHS if name in found}
    return {"PYTHONSAFEPATH": "1", **found, **paths}  # do not import modules from the directory that it starts in


def _settled_model(wanted: str | None, models_dir: Path) -> tuple[str | None, Path | None]:
    """The model as it can be named from any directory, and its directory if it was given as one."""
    if wanted is None:
        return None, None
    from vedette.models.store.model_lookup import find_model

    ref = find_model(wanted, models_dir)
    # What lies in the current directory is found from no other.
    is_directory = (ref.origin is None and ref.entry is None) or ref.path.parent == Path.cwd()
    directory = ref.path.resolve()
    return (str(directory), directory) if is_directory else (wanted, None)


def _own_account() -> Account:
    own = pwd.getpwuid(os.getuid())
    return Account(own.pw_name, own.pw_uid, own.pw_gid, Path(os.environ.get("HOME") or own.pw_dir))


def _system_account(run_as: str | None) -> Account:
    """The account that the system's service runs as: never root if there are other users. Raises ServiceError."""
    people = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid in _PEOPLE]
    caller = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    name = run_as or (caller if caller != "root" or not people else None)
    if name is None:
        raise ServiceError("cli.service.not_as_root", user=people[0])
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        if not people:
            raise ServiceError("cli.service.no_user", name=name) from error
        raise ServiceError("cli.service.no_such_user", name=name, users=tuple(people)) from error
    if entry.pw_uid == 0 and people:
        raise ServiceError("cli.service.not_as_root", user=people[0])
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def _refuse_wrong_rights(system: bool) -> None:
    root = os.geteuid() == 0
    command = shlex.join([sys.executable, "-m", "vedette", *sys.argv[1:]])
    if system and not root:
        raise ServiceError("cli.service.only_root", command=command)
    if root and not system and os.environ.get("SUDO_USER"):
        raise ServiceError("cli.service.with_sudo")


def _notes(made: Service) -> list[Message]:
    """What the person should know of an installed service."""
    notes: list[Message] = []
    if made.account.uid == 0:
        notes.append(Message("cli.service.runs_as_root"))
    if not made.system and not lingers(made.account):
        notes.append(Message("cli.service.ends_with_login"))
    return notes


def _ask_vedette(state: Mapping[str, str]) -> "ServiceStatus | None":
    """The status of the service's vedette; None if it does not answer, or its files may not be read."""
    import asyncio

    from vedette.instance.control import read_status, way_to
    from vedette.instance.lock import find

    home = service_home(state)
    running = find(home)
    return asyncio.run(read_status(way_to(home, running.url))) if running else None


def _describe(facts: Mapping[str, Any], system: bool, speech: Speech) -> str:
    if not facts["installed"]:
        return speech.say(
            Message("cli.service.no_system_service") if system else Message("cli.service.no_user_service")
        )
    failed = f", {facts['result']}" if facts["result"] not in (None, "success") else ""
    active: str | Message = f"{facts['active']} ({facts['detail']}{failed})"
    if facts["since"] and facts["active"] == "active":
        active = Message("cli.service.since", active=active, since=facts["since"])
    state = Message(f"state.{facts['state']}") if facts["state"] else None
    rows = (
        (Message("cli.label.service"), facts["unit_path"]),
        (Message("cli.label.enabled"), Message("cli.fact.yes") if facts["enabled"] else Message("cli.fact.no")),
        (Message("cli.label.active"), active),
        (Message("cli.label.restarts"), facts["restarts"] or None),
        (Message("cli.label.state"), state),
        (Message("cli.label.model"), facts["model"]),
        (Message("cli.label.page"), facts["page_url"]),
    )
    return "\n".join(
        f"{pad(speech.say(label), 10)}{speech.say(value) if isinstance(value, Message) else value}"
        for label, value in rows
        if value is not None
    )
