"""vedette as a systemd service: the text of its unit (pure), and systemctl, which is asked to run it."""

import json
import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import AlreadyRunningError, ServiceError
from vedette.settings.home import Home, home_paths

UNIT = "vedette.service"
STOP_WITHIN_S = 20
"""Above the 10 seconds that vedette and its engine take to stop at most."""

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "ActiveEnterTimestamp", "NRestarts", "Result", "User",
    "Environment",
)  # fmt: skip
_SYSTEMCTL_WITHIN_S = 120
_EXIT_NOT_RUNNING = 3
"""What `vedette status` exits with when nothing runs from its home."""


@dataclass(frozen=True)
class Account:
    """Whom a service runs as."""

    name: str
    uid: int
    gid: int
    home: Path


@dataclass(frozen=True)
class Service:
    """A vedette that systemd is to run."""

    system: bool
    """In the system's manager, else in the account's own."""
    account: Account
    program: tuple[str, ...]
    """What runs vedette: an absolute path and its arguments."""
    arguments: tuple[str, ...]
    """Those of `vedette`."""
    environment: Mapping[str, str]
    """What is set beside what systemd sets."""
    home: Home
    reads: tuple[Path, ...]
    """Directories outside the home that it cannot start without: its own code, a model's."""


def unit_text(service: Service) -> str:
    """The unit. Raises ServiceError for names that a unit cannot hold."""
    sections = {"Unit": _unit(service), "Service": _service(service), "Install": _install(service)}
    return "\n".join(
        "".join([f"[{name}]\n", *(f"{key}={value}\n" for key, value in lines)]) for name, lines in sections.items()
    )


def _unit(service: Service) -> Iterator[tuple[str, str]]:
    yield "Description", "vedette: makes this machine see and speak"
    if service.system:  # a user's manager knows nothing of the network, and starts once it and the file systems are up
        yield "Wants", "network-online.target"
        yield "After", "network-online.target"
    yield "RequiresMountsFor", _words(map(str, _distinct([*_written(service.home), *service.reads])))
    # Five failures in half an hour: more than passing trouble, and each may take minutes.
    yield "StartLimitIntervalSec", "30min"
    yield "StartLimitBurst", "5"


def _service(service: Service) -> Iterator[tuple[str, str]]:
    yield "Type", "exec"
    if service.system:
        yield "User", service.account.name
    yield "ExecStart", ":" + _words([*service.program, *service.arguments])  # the colon: no $VARIABLE is put in
    for name, value in service.environment.items():
        yield "Environment", _word(f"{name}={value}")
    yield "Restart", "on-failure"
    yield "RestartSec", "10"
    yield "RestartPreventExitStatus", "2"  # a command line that it does not understand
    yield "KillMode", "mixed"  # vedette ends its engine itself
    yield "TimeoutStopSec", str(STOP_WITHIN_S)
    yield "OOMPolicy", "continue"  # else systemd stops vedette, too, when the kernel kills the engine
    if service.system:
        yield "OOMScoreAdjust", "0"  # the engine has 500; a user's manager may not lower what it was given
    yield "StandardOutput", "journal"
    yield "StandardError", "journal"
    yield "SyslogIdentifier", "vedette"
    yield from _privileges(service)


def _privileges(service: Service) -> Iterator[tuple[str, str]]:
    """The least that works; a user's manager can take away no more without namespaces, which many kernels refuse it."""
    yield "NoNewPrivileges", "yes"
    yield "LockPersonality", "yes"
    yield "UMask", "0077"
    if not service.system:
        return
    written = list(map(str, _written(service.home)))
    if any(character in path for path in written for character in '"\\'):
        raise ServiceError(
            f"A system service cannot keep its files in {service.home.data}: systemd takes no quotes and backslashes.",
            "Set VEDETTE_HOME to another directory.",
        )
    yield "ProtectSystem", "strict"
    yield "ReadWritePaths", _words(written)
    yield "ProtectKernelTunables", "yes"
    yield "ProtectKernelModules", "yes"
    yield "ProtectControlGroups", "yes"
    temporary = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108
    used = _distinct([*_written(service.home), *service.reads])
    if not any(path.is_relative_to(base) for path in used for base in temporary):
        yield "PrivateTmp", "yes"  # vedette and its engine share it
    else:
        yield "ReadWritePaths", _words(map(str, temporary))


def _install(service: Service) -> Iterator[tuple[str, str]]:
    yield "WantedBy", "multi-user.target" if service.system else "default.target"


def _written(home: Home) -> list[Path]:
    """Where vedette writes, also where engines or models are links to another disk."""
    return _distinct([home.data, home.state, home.cache, home.engines, home.models])


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Where they really are, as systemd wants it, without those that lie inside another."""
    found: list[Path] = []
    for path in sorted({Path(os.path.realpath(path)) for path in paths}):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def _words(values: Iterable[str]) -> str:
    return " ".join(map(_word, values))


def _word(value: str) -> str:
    """A value as systemd reads it back: one word, no specifier, no other directive (systemd.syntax(7))."""
    if any(ord(character) < 32 or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in value):
        raise ServiceError(
            f"{value!r} has a character that a systemd unit cannot hold.", "Rename it without control characters."
        )
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


# What systemd is asked


def unit_path(system: bool) -> Path:
    """Where the unit lies once installed."""
    if system:
        return Path("/etc/systemd/system", UNIT)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "systemd" / "user" / UNIT


def read_state(system: bool) -> dict[str, str]:
    """What systemd knows of the service, also if it is not installed. Raises ServiceError."""
    output = systemctl(system, "show", UNIT, f"--property={','.join(_PROPERTIES)}")
    return dict.fromkeys(_PROPERTIES, "") | dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


def install(service: Service, path: Path) -> None:
    """Writes the unit, enables it, and starts it, again if it ran before. Raises ServiceError, AlreadyRunningError."""
    text = unit_text(service)
    state = read_state(service.system)
    runs_already = state["ActiveState"] in ("active", "activating", "reloading")
    _check_that_it_runs(service, runs_already)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.chmod(0o644)
    unfinished.replace(path)
    systemctl(service.system, "daemon-reload")
    if state["ActiveState"] == "failed":  # it may have used up its starts
        systemctl(service.system, "reset-failed", UNIT)
    systemctl(service.system, "enable", UNIT)
    systemctl(service.system, "restart", UNIT)


def remove(system: bool, path: Path) -> None:
    """Stops, disables and removes the service. Raises ServiceError, also if there is none."""
    state = read_state(system)
    if not path.exists():
        other = "" if system else " --system"
        raise ServiceError(
            f"vedette is not installed as a {'system' if system else 'user'} service ({path} is not there).",
            f"See `vedette service status{other}`.",
        )
    systemctl(system, "disable", "--now", UNIT)
    path.unlink()
    systemctl(system, "daemon-reload")
    if state["ActiveState"] == "failed":
        systemctl(system, "reset-failed", UNIT)


def service_home(state: Mapping[str, str]) -> Home:
    """The home of an installed service; state: what `read_state` said of it."""
    own = pwd.getpwuid(os.getuid()).pw_name
    where = pwd.getpwnam(state["User"] or own).pw_dir
    environment = dict(word.split("=", 1) for word in shlex.split(state["Environment"]) if "=" in word)
    return home_paths({"HOME": where, **environment})


def lingers(account: Account) -> bool:
    """Whether the account's services run while it is not logged in; no where nothing says so."""
    try:
        result = subprocess.run(
            ["loginctl", "show-user", account.name, "--property=Linger"],
            capture_output=True, text=True, timeout=_SYSTEMCTL_WITHIN_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.stdout.strip() == "Linger=yes"


def systemctl(system: bool, *arguments: str) -> str:
    """What systemctl prints. Raises ServiceError with what it complains of."""
    program = shutil.which("systemctl")
    if program is None:
        raise _no_systemd("systemctl is not installed")
    try:
        result = subprocess.run(
            [program, *([] if system else ["--user"]), "--no-pager", *arguments],
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
            capture_output=True, text=True, timeout=_SYSTEMCTL_WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"`systemctl {arguments[0]}` does not come back.", "See `systemctl list-jobs`.") from error
    if result.returncode != 0:
        raise _refusal(system, arguments[0], result.stderr.strip())
    return result.stdout


def _refusal(system: bool, verb: str, told: str) -> ServiceError:
    if "not been booted with systemd" in told:
        return _no_systemd("it was not booted with systemd")
    if not system and "connect to" in told and "bus" in told:
        return ServiceError(
            "Your own systemd does not run: this is no login session.",
            "Run `loginctl enable-linger` and log in again (not through su or sudo), or use `--system` as root.",
        )
    last = told.splitlines()[-1] if told else "no reason given"
    journal = "journalctl -u vedette" if system else "journalctl --user -u vedette"
    return ServiceError(f"`systemctl {verb}` failed: {last}", f"See `{journal}`.")


def _no_systemd(why: str) -> ServiceError:
    return ServiceError(
        f"There is no systemd on this machine to run a service: {why}.",
        "Run `vedette up --detach`, or let your init system run what `vedette service install --print` shows.",
    )


def _check_that_it_runs(service: Service, runs_already: bool) -> None:
    """Runs this very vedette as the service would be run, which also makes its directories as their owner.

    Raises ServiceError, or AlreadyRunningError when another vedette than the service runs from its home.
    """
    account = service.account
    identity: dict[str, object] = {}
    if account.uid != os.geteuid():
        identity = {
            "user": account.uid,
            "group": account.gid,
            "extra_groups": os.getgrouplist(account.name, account.gid),
        }
    environment = {"PATH": os.defpath, "HOME": str(account.home), **service.environment}
    try:
        result = subprocess.run(  # type: ignore[call-overload]
            [*service.program, "status", "--json"],
            env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False, **identity,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _cannot_run(service, str(error)) from error
    try:
        said = json.loads(result.stdout)
    except ValueError as error:
        raise _cannot_run(service, (result.stderr.strip().splitlines() or ["no reason given"])[-1]) from error
    if said.get("event") == "error":
        raise ServiceError(said["sentence"], said["hint"])
    if result.returncode != _EXIT_NOT_RUNNING and not runs_already:
        raise AlreadyRunningError(
            f"vedette already runs on {said['page_url']}, not as this service.",
            "Stop it with `vedette down`, then install the service.",
        )


def _cannot_run(service: Service, why: str) -> ServiceError:
    return ServiceError(
        f"{service.account.name} cannot run {shlex.join(service.program)} ({why}).",
        "Install vedette where that user can read it, or name another with `--run-as`.",
    )
