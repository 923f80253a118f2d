"""The text of vedette's systemd unit. Pure but for the links that it follows: systemd wants real paths."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import ServiceError
from vedette.settings.home import Home

UNIT = "vedette.service"
STOP_WITHIN_S = 20
"""Longer than the 10 seconds in which vedette and its engine stop."""


@dataclass(frozen=True)
class Account:
    """The account that a service runs as."""

    name: str
    uid: int
    gid: int
    home: Path


@dataclass(frozen=True)
class Service:
    """A vedette for systemd to run."""

    system: bool
    """Run by the system's manager, else by the account's own."""
    account: Account
    program: tuple[str, ...]
    """The command that runs vedette: an absolute path and its arguments."""
    arguments: tuple[str, ...]
    """The arguments of `vedette`."""
    environment: Mapping[str, str]
    """Variables beside those that systemd sets."""
    home: Home
    reads: tuple[Path, ...]
    """Directories outside the home that the service needs to start: its code, a model."""


def unit_text(service: Service) -> str:
    """The unit. Raises ServiceError for a name that a unit cannot hold."""
    sections = {"Unit": _unit(service), "Service": _service(service), "Install": _install(service)}
    return "\n".join(
        "".join([f"[{name}]\n", *(f"{key}={value}\n" for key, value in lines)]) for name, lines in sections.items()
    )


def _unit(service: Service) -> Iterator[tuple[str, str]]:
    yield "Description", "vedette: makes this machine see and speak"
    if service.system:  # a user's manager has no such target, and starts later
        yield "Wants", "network-online.target"
        yield "After", "network-online.target"
    yield "RequiresMountsFor", _words(map(str, _distinct([*_written(service.home), *service.reads])))
    # Each failure may take minutes, so five in half an hour are no passing trouble.
    yield "StartLimitIntervalSec", "30min"
    yield "StartLimitBurst", "5"


def _service(service: Service) -> Iterator[tuple[str, str]]:
    yield "Type", "exec"
    if service.system:
        yield "User", service.account.name
    yield "ExecStart", ":" + _words([*service.program, *service.arguments])  # the colon: systemd replaces no $VARIABLE
    for name, value in service.environment.items():
        yield "Environment", _word(f"{name}={value}")
    yield "Restart", "on-failure"
    yield "RestartSec", "10"
    yield "RestartPreventExitStatus", "2"  # a wrong command line
    yield "KillMode", "mixed"  # vedette stops its engine itself
    yield "TimeoutStopSec", str(STOP_WITHIN_S)
    yield "OOMPolicy", "continue"  # else systemd stops vedette when the kernel kills the engine
    if service.system:
        yield "OOMScoreAdjust", "0"  # the engine has 500; a user's manager may not lower its own
    yield "StandardOutput", "journal"
    yield "StandardError", "journal"
    yield "SyslogIdentifier", "vedette"
    yield "LogRateLimitIntervalSec", "60"  # the journal has its own bound; this keeps one service from filling it
    yield "LogRateLimitBurst", "600"
    yield from _privileges(service)


def _privileges(service: Service) -> Iterator[tuple[str, str]]:
    """The fewest rights that work; for a user's manager, more would need namespaces, which many kernels refuse."""
    yield "NoNewPrivileges", "yes"
    yield "LockPersonality", "yes"
    yield "UMask", "0077"
    if not service.system:
        return
    written = list(map(str, _written(service.home)))
    if any(character in path for path in written for character in '"\\'):
        raise ServiceError("systemd.quotes_in_home", path=str(service.home.data))
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
    """Directories that vedette writes to; engines and models may be links to another disk."""
    return _distinct([home.data, home.state, home.cache, home.engines, home.models])


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """The real paths, without those that lie inside another."""
    found: list[Path] = []
    for path in sorted({Path(os.path.realpath(path)) for path in paths}):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def _words(values: Iterable[str]) -> str:
    return " ".join(map(_word, values))


def _word(value: str) -> str:
    """The value quoted, so that systemd reads it back as one word (systemd.syntax(7))."""
    if any(ord(character) < 32 or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in value):
        raise ServiceError("systemd.control_character", name=ascii(value))
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
