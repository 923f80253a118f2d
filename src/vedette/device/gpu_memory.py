"""GPU memory by process, and GPU memory that no living process holds."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vedette.device.device import GpuProcess
from vedette.device.processes import MAX_LISTED, MIN_BYTES, printable, read_own_containers, read_run_by, runs_in

_WHOLE_MACHINE = "pid:[4026531836]"
"""The first PID namespace (Linux, include/linux/proc_ns.h). In another namespace the driver's PIDs are not those of
/proc, and every process would look dead."""


@dataclass(frozen=True)
class Holding:
    """GPU memory of one process, as the driver reports it."""

    pid: int
    """0 for the kernel's own."""
    held_bytes: int | None


@dataclass(frozen=True)
class GpuUse:
    """GPU memory in use, as the driver reports it."""

    holdings: tuple[Holding, ...]
    used_bytes: int | None
    """Total in use, by whatever process or kernel part."""


def read_gpu_processes(
    root: Path, workplace: Path | None, use: GpuUse | None
) -> tuple[tuple[GpuProcess, ...], int | None]:
    """Read the living processes with GPU memory that are not vedette's, largest first, and the stale bytes.

    Stale bytes are in use without a living process. They are None where driver or kernel do not tell enough.
    """
    if use is None or not _sees_all(root):
        return (), None
    names = {holding.pid: "kernel" if holding.pid == 0 else _read_living(root, holding.pid) for holding in use.holdings}
    living = [holding for holding in use.holdings if names[holding.pid] is not None]
    large = [each for each in living if each.pid not in (0, os.getpid()) and (each.held_bytes or 0) >= MIN_BYTES]
    large.sort(key=lambda holding: (-(holding.held_bytes or 0), holding.pid))
    own = read_own_containers(root, workplace)
    others = [
        GpuProcess(names[each.pid] or "", each.pid, each.held_bytes or 0, run_by)
        for each in large
        if not runs_in(workplace, root, each.pid)
        for run_by in [read_run_by(root, each.pid)]
        if run_by not in own
    ]
    return tuple(others[:MAX_LISTED]), _stale_bytes(use, living)


def _stale_bytes(use: GpuUse, living: Iterable[Holding]) -> int | None:
    sizes = [holding.held_bytes for holding in living]
    if use.used_bytes is None or None in sizes:
        return None
    return max(0, use.used_bytes - sum(size or 0 for size in sizes))


def read_nvmap(root: Path) -> GpuUse | None:
    """Read the clients of an Orin's GPU memory driver. Only root may read them."""
    try:
        return parse_nvmap_clients((root / "sys/kernel/debug/nvmap/iovmm/clients").read_text(errors="replace"))
    except OSError:
        return None


def parse_nvmap_clients(text: str) -> GpuUse | None:
    """Parse nvmap's table of clients: rows of CLIENT, PROCESS, PID and SIZE, and the total of all allocations.

    Shared memory is split between its clients, so the total exceeds the sum of the rows only by memory without a
    client (nvmap_dev.c). None for any other text.
    """
    rows = [re.fullmatch(r"\S+\s+.*?(\d+)\s+(\d+)K", line.strip()) for line in text.splitlines()]
    total = re.search(r"^total\s+(\d+)K\s*$", text, re.MULTILINE)
    if total is None:
        return None
    return GpuUse(
        tuple(Holding(int(row[1]), int(row[2]) * 1024) for row in rows if row is not None), int(total[1]) * 1024
    )


def _sees_all(root: Path) -> bool:
    try:
        return str((root / "proc/self/ns/pid").readlink()) == _WHOLE_MACHINE
    except OSError:
        return False


def _read_living(root: Path, pid: int) -> str | None:
    """Read the name of a process; None if it has ended or is a zombie."""
    try:
        status = (root / f"proc/{pid}/status").read_bytes().decode(errors="replace")
    except OSError:
        return None
    fields = dict(line.partition(":")[::2] for line in reversed(status.split("\n")))
    return None if fields.get("State", "").strip()[:1] in ("Z", "X") else printable(fields.get("Name", ""))
