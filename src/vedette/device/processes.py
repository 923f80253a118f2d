"""Who else holds memory: the largest processes that are neither vedette nor its engine."""

import os
from itertools import islice
from pathlib import Path

from vedette.device.facts import OtherProcess

LEAST_BYTES = 200 * 1024**2
"""What holds less is not worth naming."""
MOST_NAMED = 3


def read_other_processes(root: Path, workplace: Path | None) -> tuple[OtherProcess, ...]:
    """At most `MOST_NAMED` processes with at least `LEAST_BYTES` each, the largest first.

    root: where the machine's file system is mounted.
    workplace: the directory that vedette's engine runs in; who runs there is none of the others.
    A process that cannot be read is left out: it has just ended, or is hidden from this user.
    """
    try:
        pids = [int(entry.name) for entry in (root / "proc").iterdir() if entry.name.isdecimal()]
    except OSError:
        return ()
    found = [_read_process(root, pid) for pid in pids if pid != os.getpid()]
    large = [process for process in found if process is not None and process.resident_bytes >= LEAST_BYTES]
    large.sort(key=lambda process: (-process.resident_bytes, process.pid))
    return tuple(islice((process for process in large if not _runs_in(workplace, root, process.pid)), MOST_NAMED))


def parse_process(pid: int, status: str) -> OtherProcess | None:
    """The process of a /proc/PID/status, whose kB are KiB; None for the kernel's own threads, which hold none."""
    fields: dict[str, str] = {}
    for line in status.split("\n"):  # a name may hold any other end of line
        key, _, value = line.partition(":")
        fields.setdefault(key, value.strip())
    # Before Linux 4.5 the mapped files cannot be told apart.
    parts = ("RssAnon", "RssShmem") if "RssAnon" in fields else ("VmRSS",)
    sizes = [fields.get(part, "").removesuffix(" kB") for part in parts]
    if not all(size.isdecimal() for size in sizes):
        return None
    name = "".join(character for character in fields.get("Name", "") if character.isprintable()).strip()
    return OtherProcess(name or "unnamed", pid, sum(map(int, sizes)) * 1024)


def _read_process(root: Path, pid: int) -> OtherProcess | None:
    try:
        return parse_process(pid, (root / f"proc/{pid}/status").read_bytes().decode(errors="replace"))
    except OSError:
        return None


def _runs_in(workplace: Path | None, root: Path, pid: int) -> bool:
    try:
        return workplace is not None and (root / f"proc/{pid}/cwd").readlink() == workplace.resolve()
    except OSError:  # another user's, and so none that vedette started
        return False
