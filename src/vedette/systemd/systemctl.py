"""What systemd is asked to do with vedette's unit: install it, remove it, say how it stands."""

import json
import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vedette.errors import AlreadyRunningError, ServiceError
from vedette.files import write_whole
from vedette.language.message import Message
from vedette.settings.home import Home, home_paths
from vedette.systemd.unit import UNIT, Account, Service, unit_text

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "ActiveEnterTimestamp", "NRestarts", "Result", "User",
    "Environment",
)  # fmt: skip
_SYSTEMCTL_WITHIN_S = 120
_STATUS_WITHIN_S = 60
_EXIT_NOT_RUNNING = 3
"""Exit code of `vedette status` when no vedette runs from its home."""
_RUNNING = ("active", "activating", "reloading")


def unit_path(system: bool) -> Path:
    """The path of the installed unit."""
    if system:
        return Path("/etc/systemd/system", UNIT)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "systemd" / "user" / UNIT


def read_state(system: bool) -> dict[str, str]:
    """The service's properties, also if it is not installed. Raises ServiceError."""
    output = systemctl(system, "show", UNIT, f"--property={','.join(_PROPERTIES)}")
    return dict.fromkeys(_PROPERTIES, "") | dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


def install(service: Service, path: Path) -> None:
    """Writes, enables and starts the unit; restarts it if it runs. Raises ServiceError, AlreadyRunningError."""
    text = unit_text(service)
    state = read_state(service.system)
    runs_already = state["ActiveState"] in _RUNNING
    _check_that_it_runs(service, runs_already)
    write_whole(path, text, mode=0o644)
    systemctl(service.system, "daemon-reload")
    if state["ActiveState"] == "failed":  # systemd may refuse further starts
        systemctl(service.system, "reset-failed", UNIT)
    systemctl(service.system, "enable", UNIT)
    systemctl(service.system, "restart", UNIT)


def remove(system: bool, path: Path) -> None:
    """Stops, disables and removes the service. Raises ServiceError, also if it is not installed."""
    state = read_state(system)
    if not path.exists():
        if system:
            raise ServiceError("systemd.no_system_service", path=str(path))
        raise ServiceError("systemd.no_user_service", path=str(path))
    systemctl(system, "disable", "--now", UNIT)
    path.unlink()
    systemctl(system, "daemon-reload")
    if state["ActiveState"] == "failed":
        systemctl(system, "reset-failed", UNIT)


def service_home(state: Mapping[str, str]) -> Home:
    """The home of an installed service. state: from `read_state`."""
    own = pwd.getpwuid(os.getuid()).pw_name
    where = pwd.getpwnam(state["User"] or own).pw_dir
    environment = dict(word.split("=", 1) for word in shlex.split(state["Environment"]) if "=" in word)
    return home_paths({"HOME": where, **environment})


def lingers(account: Account) -> bool:
    """Whether the account's services run while it is not logged in; False if that is unknown."""
    try:
        result = subprocess.run(
            ["loginctl", "show-user", account.name, "--property=Linger"],
            capture_output=True, text=True, timeout=_SYSTEMCTL_WITHIN_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.stdout.strip() == "Linger=yes"


def systemctl(system: bool, *arguments: str) -> str:
    """What systemctl prints. Raises ServiceError with its complaint."""
    program = shutil.which("systemctl")
    if program is None:
        raise ServiceError("systemd.missing", why=Message("systemd.no_systemctl"))
    try:
        result = subprocess.run(
            [program, *([] if system else ["--user"]), "--no-pager", *arguments],
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
            capture_output=True, text=True, timeout=_SYSTEMCTL_WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ServiceError("systemd.systemctl_hangs", verb=arguments[0]) from error
    if result.returncode != 0:
        raise _refusal(system, arguments[0], result.stderr.strip())
    return result.stdout


def _refusal(system: bool, verb: str, complaint: str) -> ServiceError:
    if "not been booted with systemd" in complaint:
        return ServiceError("systemd.missing", why=Message("systemd.not_booted"))
    if not system and "connect to" in complaint and "bus" in complaint:
        return ServiceError("systemd.no_session")
    reason = complaint.splitlines()[-1] if complaint else Message("systemd.no_reason")
    journal = "journalctl -u vedette" if system else "journalctl --user -u vedette"
    return ServiceError("systemd.systemctl_failed", verb=verb, reason=reason, journal=journal)


def run_as(account: Account) -> dict[str, Any]:
    """The arguments that make subprocess run a program as the account; none if this process has that user."""
    if account.uid == os.geteuid():
        return {}
    return {
        "user": account.uid,
        "group": account.gid,
        "extra_groups": os.getgrouplist(account.name, account.gid),
    }


def _check_that_it_runs(service: Service, runs_already: bool) -> None:
    """Runs this vedette's `status` as the service would run, which also creates its directories as their owner.

    Raises ServiceError, or AlreadyRunningError if a vedette that is not the service runs from its home.
    """
    account = service.account
    environment = {"PATH": os.defpath, "HOME": str(account.home), **service.environment}
    try:
        result = subprocess.run(
            [*service.program, "status", "--json"],
            env=environment, cwd="/", capture_output=True, text=True, timeout=_STATUS_WITHIN_S, check=False,
            **run_as(account),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _cannot_run(service, str(error)) from error
    try:
        status = json.loads(result.stdout)
    except ValueError as error:
        lines = result.stderr.strip().splitlines()
        raise _cannot_run(service, lines[-1] if lines else Message("systemd.no_reason")) from error
    if status.get("event") == "error":
        raise ServiceError("errors.verbatim", sentence=str(status["sentence"]), hint=str(status["hint"] or ""))
    if result.returncode != _EXIT_NOT_RUNNING and not runs_already:
        raise AlreadyRunningError("systemd.other_vedette", url=str(status["page_url"]))


def _cannot_run(service: Service, why: str | Message) -> ServiceError:
    command = shlex.join(service.program)
    return ServiceError("systemd.cannot_run", user=service.account.name, command=command, why=why)
