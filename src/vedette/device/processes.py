"""The largest processes other than vedette and its engine, and the memory they hold."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vedette.device.device import OtherProcess
from vedette.units import MIB

VEDETTE = "vedette "
"""Beginning of `OtherProcess.run_by` for the engine of another vedette; that vedette's state directory follows."""
MIN_BYTES = 200 * MIB
"""Smaller processes are not listed."""
MAX_LISTED = 3
_INTERPRETER_WORDS = 3
"""A container runs `python3 /usr/local/bin/vllm serve` for the command `vllm serve`."""
DISPLAY_SERVERS = {"Xorg", "Xwayland", "gnome-shell", "weston", "lxqt-session", "xfce4-session"}
_DESKTOP = re.compile(
    r"gnome-|gdm|gsd-|goa-|gvfs|ibus-|evolution-|tracker-|nautilus|xdg-|mutter|update-notifier|snap-store|lxqt-|xfce4-|"
    r"xfwm4|xfdesktop"
)
"""Beginnings of names of processes that belong to a graphical session."""
_FIELDS = re.compile(r"^(Name|VmRSS|RssAnon|RssShmem):(.*)$", re.MULTILINE)
"""A process name may hold any line separator except the newline."""
_CONTAINER = re.compile(r"(docker|libpod)[-/]([0-9a-f]{64})\b")
_SERVICE = re.compile(r"/system\.slice/(?:\S+/)?([\w.@:\\-]+\.service)$")


@dataclass(frozen=True)
class Processes:
    """Memory held by processes of the machine."""

    others: tuple[OtherProcess, ...]
    """At most `MAX_LISTED` with at least `MIN_BYTES` each, the largest first."""
    desktop_bytes: int | None
    """Memory of a graphical session and its login; 0 where none runs, None where no process can be read."""


def read_processes(root: Path, workplace: Path | None, within: Collection[int] | None = None) -> Processes:
    """Read which processes other than vedette hold RAM.

    root: where the machine's file system is mounted.
    workplace: the directory that vedette's engines run in or below. Their processes are left out.
    within: the processes that share a memory limit; None for all.
    A process that cannot be read is left out: it has ended, or this user may not see it.
    """
    pids = _read_pids(root)
    found = [process for pid in pids if pid != os.getpid() for process in [_read_process(root, pid)] if process]
    desktop = [process for process in found if belongs_to_desktop(process.name)]
    runs = any(process.name in DISPLAY_SERVERS for process in desktop)
    own = read_own_containers(root, workplace)
    large = [process for process in found if process.resident_bytes >= MIN_BYTES]
    large.sort(key=lambda process: (-process.resident_bytes, process.pid))
    others = (
        replace(process, run_by=run_by)
        for process in large
        if (within is None or process.pid in within) and not runs_in(workplace, root, process.pid)
        for run_by in [read_run_by(root, process.pid)]
        if run_by not in own
    )
    held_bytes = sum(process.resident_bytes for process in desktop) if runs else 0
    return Processes(tuple(islice(others, MAX_LISTED)), held_bytes if pids else None)


def belongs_to_desktop(name: str) -> bool:
    """Return whether a process of this name is part of a graphical session or its login."""
    return name in DISPLAY_SERVERS or _DESKTOP.match(name) is not None


def parse_process(pid: int, status: str) -> OtherProcess | None:
    """Parse /proc/PID/status, whose kB are KiB; None for kernel threads, which hold no memory."""
    fields = dict(_FIELDS.findall(status))
    # Before Linux 4.5 the status does not tell mapped files apart.
    parts = ("RssAnon", "RssShmem") if "RssAnon" in fields else ("VmRSS",)
    sizes = [fields.get(part, "").strip().removesuffix(" kB") for part in parts]
    if not all(size.isdecimal() for size in sizes):
        return None
    return OtherProcess(printable(fields.get("Name", "")), pid, sum(map(int, sizes)) * 1024)


def printable(name: str) -> str:
    """Return a process name without characters that would move the cursor."""
    return "".join(character for character in name if character.isprintable()).strip() or "unnamed"


def read_run_by(root: Path, pid: int) -> str | None:
    """Read the container, system service or vedette that a process belongs to, as `OtherProcess.run_by`."""
    try:
        found = parse_run_by((root / f"proc/{pid}/cgroup").read_text(errors="replace"))
    except OSError:
        found = None
    return found or _read_vedette(root, pid)


def _read_vedette(root: Path, pid: int) -> str | None:
    """Recognise the engine of another vedette: it runs in STATE/engine/NUMBER, beside that vedette's instance.json."""
    try:
        slot = (root / f"proc/{pid}/cwd").readlink()
        state = slot.parent.parent
        runs = slot.name.isdecimal() and slot.parent.name == "engine" and (state / "instance.json").exists()
    except OSError:
        return None
    return f"{VEDETTE}{state}" if runs else None


def parse_run_by(cgroups: str) -> str | None:
    """Parse /proc/PID/cgroup; None for a process of a user session."""
    for line in cgroups.splitlines():
        container = _CONTAINER.search(line)
        if container is not None:
            return f"{'podman' if container[1] == 'libpod' else 'docker'} {container[2][:12]}"
    services = (_SERVICE.search(line) for line in cgroups.splitlines())
    return next((service[1] for service in services if service is not None), None)


def read_own_containers(root: Path, workplace: Path | None) -> frozenset[str]:
    """Return the containers that vedette's workplace started, as `OtherProcess.run_by` names them.

    /proc does not say who started a container. But the container command that waits in the workplace ends with the
    same words as the container's first process, apart from a few words of an interpreter.
    """
    pids = _read_pids(root)
    commands = [_read_command(root, pid) for pid in pids if runs_in(workplace, root, pid)]
    if not commands:
        return frozenset()
    inside = ((pid, run_by) for pid in pids for run_by in [read_run_by(root, pid)] if _is_container(run_by))
    return frozenset(run_by for pid, run_by in inside if run_by and _ends_like_one(_read_command(root, pid), commands))


def _is_container(run_by: str | None) -> bool:
    return run_by is not None and " " in run_by and not run_by.startswith(VEDETTE)


def _ends_like_one(command: list[str], others: list[list[str]]) -> bool:
    last = command[_INTERPRETER_WORDS:]
    return bool(last) and any(other[-len(last) :] == last for other in others)


def _read_command(root: Path, pid: int) -> list[str]:
    try:
        return (root / f"proc/{pid}/cmdline").read_text(errors="replace").removesuffix("\0").split("\0")
    except OSError:
        return []


def _read_pids(root: Path) -> list[int]:
    try:
        return [int(entry.name) for entry in (root / "proc").iterdir() if entry.name.isdecimal()]
    except OSError:
        return []


def runs_in(workplace: Path | None, root: Path, pid: int) -> bool:
    """Return whether a process runs in vedette's workplace (a resolved path) or below it."""
    try:
        return workplace is not None and (root / f"proc/{pid}/cwd").readlink().is_relative_to(workplace)
    except OSError:  # another user's process: vedette did not start it
        return False


def _read_process(root: Path, pid: int) -> OtherProcess | None:
    try:
        return parse_process(pid, (root / f"proc/{pid}/status").read_bytes().decode(errors="replace"))
    except OSError:
        return None
