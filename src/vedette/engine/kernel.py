"""What the kernel tells of processes that it killed for lack of memory: they cannot say it themselves."""

from pathlib import Path


def read_out_of_memory_kills(root: Path = Path("/")) -> int | None:
    """How often the kernel has killed for memory where this process and its children are accounted.

    That is their memory cgroup, of version 2 or 1, where they are in one; else the whole machine. None where
    nothing counts. Only the difference of two readings means something.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for name in (*_counters(lines), "proc/vmstat"):
        try:
            return parse_kills((root / name).read_text())
        except (OSError, ValueError):
            continue
    return None


def parse_kills(text: str) -> int:
    """The number behind `oom_kill` in memory.events, memory.oom_control or /proc/vmstat. Raises ValueError if none."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    raise ValueError("no oom_kill")


def _counters(lines: list[str]) -> list[str]:
    """Files that count for the cgroups of /proc/self/cgroup, the root's left out: it has none."""
    found = []
    for line in lines:
        hierarchy, controllers, path = [*line.split(":", 2), "", ""][:3]
        inside = path.strip("/")
        if not inside or ".." in inside.split("/"):
            continue
        if "memory" in controllers.split(","):
            found.append(f"sys/fs/cgroup/memory/{inside}/memory.oom_control")
        elif hierarchy == "0" and not controllers:
            found.append(f"sys/fs/cgroup/{inside}/memory.events")
    return found
