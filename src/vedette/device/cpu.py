"""The processor's name, and the number of cores that this process may use."""

import math
from pathlib import Path

from vedette.device.ram import cgroup_directories


def read_cpu_name(root: Path) -> str | None:
    """Read the processor's name from /proc/cpuinfo; None where the kernel gives none (most ARM boards)."""
    try:
        return parse_cpu_name((root / "proc/cpuinfo").read_text())
    except OSError:
        return None


def parse_cpu_name(text: str) -> str | None:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return None


def read_cpu_count(root: Path) -> int:
    """Read the number of cores that this process may use, by its affinity and the CPU quotas of its cgroups."""
    try:
        allowed = parse_cpus_allowed((root / "proc/self/status").read_text())
    except OSError:
        allowed = 1
    quotas = [_read_quota(directory) for directory in cgroup_directories(root, controller="cpu")]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def parse_cpus_allowed(text: str) -> int:
    """Count the cores of the `Cpus_allowed_list:` line (`0-3,8`) of /proc/self/status; 1 without such a line."""
    for line in text.splitlines():
        if line.startswith("Cpus_allowed_list:"):
            ranges = [part.split("-") for part in line.split(":", 1)[1].strip().split(",") if part]
            return sum(int(bounds[-1]) - int(bounds[0]) + 1 for bounds in ranges)
    return 1


def _read_quota(directory: Path) -> float | None:
    """Read the quota in cores (`cpu.max` of version 2, `cpu.cfs_*` of version 1); None is no limit."""
    try:
        if (directory / "cpu.max").exists():
            quota, period = (directory / "cpu.max").read_text().split()
        else:
            quota = (directory / "cpu.cfs_quota_us").read_text().strip()
            period = (directory / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):
        return None
