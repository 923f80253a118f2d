"""Who else holds memory: the largest processes that are neither vedette nor its engine."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vedette.device.device import OtherProcess

LEAST_BYTES = 200 * 1024**2
"""What holds less is not worth naming."""
MOST_NAMED = 3
_INTERPRETER_WORDS = 3
"""`python3 /usr/local/bin/vllm serve` where `vllm serve` was told."""
DISPLAY_SERVERS = {"Xorg", "Xwayland", "gnome-shell", "weston", "lxqt-session", "xfce4-session"}
_DESKTOP = re.compile(
    r"gnome-|gdm|gsd-|goa-|gvfs|ibus-|evolution-|tracker-|nautilus|xdg-|mutter|update-notifier|snap-store|lxqt-|xfce4-|"
    r"xfwm4|xfdesktop"
)
"""How the names begin of what comes and goes with a graphical session."""
_FIELDS = re.compile(r"^(Name|VmRSS|RssAnon|RssShmem):(.*)$", re.MULTILINE)
"""A name may hold any end of line but the one that ends lines here."""
_CONTAINER = re.compile(r"(docker|libpod)[-/]([0-9a-f]{64})\b")
_SERVICE = re.compile(r"/system\.slice/(?:\S+/)?([\w.@:\\-]+\.service)$")


@dataclass(frozen=True)
class Processes:
    """What the processes of the machine hold."""

    others: tuple[OtherProcess, ...]
    """At most `MOST_NAMED` with at least `LEAST_BYTES` each, the largest first."""
    desktop_bytes: int | None
    """Of a graphical session and its login together; 0 where none runs, None where nothing can be read."""


def read_processes(root: Path, workplace: Path | None, within: Collection[int] | None = None) -> Processes:
    """Who holds RAM besides vedette.

    root: where the machine's file system is mounted.
    workplace: the directory that vedette's engines run in, or in directories below; they are none of the others.
    within: the processes that take of the same memory, where not all do.
    A process that cannot be read is left out: it has just ended, or is hidden from this user.
    """
    pids = _read_pids(root)
    found = [process for pid in pids if pid != os.getpid() for process in [_read_process(root, pid)] if process]
    desktop = [process for process in found if belongs_to_desktop(process.name)]
    runs = any(process.name in DISPLAY_SERVERS for process in desktop)
    own = read_own_containers(root, workplace)
    large = [process for process in found if process.resident_bytes >= LEAST_BYTES]
    large.sort(key=lambda process: (-process.resident_bytes, process.pid))
    others = (
        replace(process, run_by=run_by)
        for process in large
        if (within is None or process.pid in within) and not runs_in(workplace, root, process.pid)
        for run_by in [read_run_by(root, process.pid)]
        if run_by not in own
    )
    held_bytes = sum(process.resident_bytes for process in desktop) if runs else 0
    return Processes(tuple(islice(others, MOST_NAMED)), held_bytes if pids else None)


def belongs_to_desktop(name: str) -> bool:
    """Whether a process of this name is part of a graphical session or its login."""
    return name in DISPLAY_SERVERS or _DESKTOP.match(name) is not None


def parse_process(pid: int, status: str) -> OtherProcess | None:
    """The process of a /proc/PID/status, whose kB are KiB; None for the kernel's own threads, which hold none."""
    fields = dict(_FIELDS.findall(status))
    # Before Linux 4.5 the mapped files cannot be told apart.
    parts = ("RssAnon", "RssShmem") if "RssAnon" in fields else ("VmRSS",)
    sizes = [fields.get(part, "").strip().removesuffix(" kB") for part in parts]
    if not all(size.isdecimal() for size in sizes):
        return None
    return OtherProcess(printable(fields.get("Name", "")), pid, sum(map(int, sizes)) * 1024)


def printable(name: str) -> str:
    """A process's name without what would move a cursor."""
    return "".join(character for character in name if character.isprintable()).strip() or "unnamed"


def read_run_by(root: Path, pid: int) -> str | None:
    """The container or the system's service that a process belongs to, as `OtherProcess.run_by`."""
    try:
        return parse_run_by((root / f"proc/{pid}/cgroup").read_text(errors="replace"))
    except OSError:
        return None


def parse_run_by(cgroups: str) -> str | None:
    """From /proc/PID/cgroup; None for what a person started."""
    for line in cgroups.splitlines():
        container = _CONTAINER.search(line)
        if container is not None:
            return f"{'podman' if container[1] == 'libpod' else 'docker'} {container[2][:12]}"
    services = (_SERVICE.search(line) for line in cgroups.splitlines())
    return next((service[1] for service in services if service is not None), None)


def read_own_containers(root: Path, workplace: Path | None) -> frozenset[str]:
    """The containers that were started from vedette's workplace, as `OtherProcess.run_by` names them.

    Nothing in /proc says who started a container; but its first process runs what the command in the workplace,
    which waits for it, was told to run in it: all words but the first few, an interpreter's, are the same.
    """
    pids = _read_pids(root)
    told = [words for pid in pids if runs_in(workplace, root, pid) for words in [_read_command(root, pid)]]
    if not told:
        return frozenset()
    inside = ((pid, run_by) for pid in pids for run_by in [read_run_by(root, pid)] if run_by and " " in run_by)
    return frozenset(run_by for pid, run_by in inside if _ends_alike(_read_command(root, pid), told))


def _ends_alike(command: list[str], others: list[list[str]]) -> bool:
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
    """Whether a process runs in vedette's workplace, as the kernel names it, or below."""
    try:
        return workplace is not None and (root / f"proc/{pid}/cwd").readlink().is_relative_to(workplace)
    except OSError:  # another user's, and so none that vedette started
        return False


def _read_process(root: Path, pid: int) -> OtherProcess | None:
    try:
        return parse_process(pid, (root / f"proc/{pid}/status").read_bytes().decode(errors="replace"))
    except OSError:
        return None
