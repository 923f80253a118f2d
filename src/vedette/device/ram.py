"""RAM in total and available, as the kernel reports it, within the limits of memory cgroups."""

import contextlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vedette.errors import DeviceError

V1_UNLIMITED_BYTES = 1 << 62
"""Cgroups of version 1 report the largest page-aligned 64-bit number if there is no limit."""


@dataclass(frozen=True)
class Ram:
    """Bytes of RAM for this process and its children."""

    total_bytes: int
    available_bytes: int
    cache_bytes: int | None
    """Part of the available memory that caches files now. The kernel frees it when a process needs it."""


@dataclass(frozen=True)
class Swap:
    """Swap space of the machine. None is unknown."""

    total_bytes: int | None
    free_bytes: int | None
    zram_bytes: int | None
    """Part of the total that is compressed RAM (zram) and not disk."""


@dataclass(frozen=True)
class Cgroup:
    """One memory cgroup with a limit."""

    directory: Path
    limit_bytes: int
    used_bytes: int
    """Usage without the file cache: the part that the kernel cannot free."""
    cache_bytes: int


def read_machine_memory(root: Path) -> tuple[Ram, Swap]:
    """Return RAM and swap of the whole machine. Raises DeviceError if /proc/meminfo cannot be read.

    root: `/`, or a directory with copies of its files, for tests.
    """
    try:
        meminfo = (root / "proc/meminfo").read_text()
    except OSError as error:
        raise DeviceError("device.meminfo_unreadable", error=error.strerror) from error
    try:
        swaps = (root / "proc/swaps").read_text(errors="replace")
    except OSError:
        swaps = None
    return parse_meminfo(meminfo), parse_swap(meminfo, swaps)


def limited_ram(ram: Ram, cgroups: list[Cgroup]) -> Ram:
    """Return the machine's RAM within the tightest limit of the memory cgroups around this process."""
    for cgroup in cgroups:
        left_bytes = max(0, cgroup.limit_bytes - cgroup.used_bytes)
        tighter = left_bytes < ram.available_bytes
        ram = Ram(
            total_bytes=min(ram.total_bytes, cgroup.limit_bytes),
            available_bytes=min(ram.available_bytes, left_bytes),
            cache_bytes=min(cgroup.cache_bytes, left_bytes) if tighter else ram.cache_bytes,
        )
    return ram


def read_sharers(ram: Ram, cgroups: list[Cgroup]) -> frozenset[int] | None:
    """Return the processes that share the memory limit of this one; None if every process of the machine does.

    ram: the whole machine's. Only the cgroup with the least memory left counts.
    """
    tightest = min(cgroups, key=lambda cgroup: cgroup.limit_bytes - cgroup.used_bytes, default=None)
    if tightest is None or tightest.limit_bytes - tightest.used_bytes >= ram.available_bytes:
        return None
    pids: set[int] = set()
    for file in tightest.directory.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            pids.update(int(line) for line in file.read_text().split() if line.isdecimal())
    return frozenset(pids)


def parse_meminfo(text: str) -> Ram:
    """Parse MemTotal and MemAvailable (MemFree on kernels before 3.14) of /proc/meminfo, whose kB are KiB."""
    sizes = _meminfo_bytes(text)
    free = sizes.get("MemFree")
    available = sizes.get("MemAvailable", free)
    if "MemTotal" not in sizes or available is None:
        raise DeviceError("device.meminfo_incomplete")
    return Ram(sizes["MemTotal"], available, None if free is None else max(0, available - free))


def parse_swap(meminfo: str, swaps: str | None) -> Swap:
    """Parse swap of /proc/meminfo, and its zram part of /proc/swaps (None if that cannot be read)."""
    sizes = _meminfo_bytes(meminfo)
    rows = [line.split() for line in (swaps or "").splitlines()[1:]]
    zram = [row[2] for row in rows if len(row) == 5 and row[0].startswith("/dev/zram") and row[2].isdigit()]
    return Swap(sizes.get("SwapTotal"), sizes.get("SwapFree"), None if swaps is None else sum(map(int, zram)) * 1024)


def _meminfo_bytes(text: str) -> dict[str, int]:
    sizes = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            sizes[key] = int(number[0]) * 1024
    return sizes


def read_memory_cgroups(root: Path) -> list[Cgroup]:
    """Read every memory cgroup with a limit, from this process's own up to the root, version 1 or 2."""
    found = []
    for directory in cgroup_directories(root, controller="memory"):
        cgroup = _read_v2(directory) or _read_v1(directory)
        if cgroup is not None:
            found.append(cgroup)
    return found


def cgroup_directories(root: Path, controller: str) -> list[Path]:
    """Return the cgroup directories around this process for `controller`, innermost first.

    A container without a cgroup namespace sees a path that its mount does not have. The walk upwards from there
    ends at the mount itself, which then is the container's own cgroup.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    mounts = root / "sys/fs/cgroup"
    v1, v2 = None, None
    for line in lines:
        hierarchy, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            v1 = path
        elif hierarchy == "0" and not controllers:
            v2 = path
    if v1 is not None:
        return _upwards(mounts / controller, v1)
    if v2 is not None:
        return _upwards(mounts, v2)
    return []


def _upwards(mount: Path, path: str) -> list[Path]:
    relative = PurePosixPath(path.lstrip("/"))
    inside = [part for part in (relative, *relative.parents) if ".." not in part.parts]
    return [mount / part for part in inside if (mount / part).is_dir()]


def _read_v2(directory: Path) -> Cgroup | None:
    # memory.high slows processes down instead of killing them. An engine above it is too slow to use.
    limits = [_read_number(directory / name) for name in ("memory.max", "memory.high")]
    known = [limit for limit in limits if limit is not None]
    usage = _read_number(directory / "memory.current")
    if not known or usage is None:
        return None
    stat = _read_stat(directory)
    cache = stat.get("inactive_file", 0) + stat.get("active_file", 0) + stat.get("slab_reclaimable", 0)
    return Cgroup(directory, limit_bytes=min(known), used_bytes=max(0, usage - cache), cache_bytes=cache)


def _read_v1(directory: Path) -> Cgroup | None:
    limit = _read_number(directory / "memory.limit_in_bytes")
    usage = _read_number(directory / "memory.usage_in_bytes")
    if limit is None or limit >= V1_UNLIMITED_BYTES or usage is None:
        return None
    stat = _read_stat(directory)
    cache = stat.get("total_inactive_file", 0) + stat.get("total_active_file", 0)
    return Cgroup(directory, limit_bytes=limit, used_bytes=max(0, usage - cache), cache_bytes=cache)


def _read_number(path: Path) -> int | None:
    """Return the number in a cgroup file; None if there is no such file or it says "max"."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _read_stat(directory: Path) -> dict[str, int]:
    try:
        lines = (directory / "memory.stat").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
