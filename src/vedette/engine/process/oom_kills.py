"""What the kernel tells of processes that it killed for lack of memory: they cannot say it themselves."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

_MACHINE = "proc/vmstat"
_RECENT_S = 20.0
"""A kill that is no older may be what an engine has just died of: its processes take seconds to notice one's death."""


class KillWatch:
    """Kills for memory of late: where a count is of more than the engine, an old one is somebody else's.

    read: what counts, as `read_out_of_memory_kills`. clock: in seconds.
    """

    _pardoned = 0

    def __init__(self, read: Callable[[], int | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._before = self._last = self._count()
        self._last_at = clock()

    @classmethod
    def pardon(cls) -> None:
        """Leaves one kill out of every watch's count: it was of a process that no engine's life depends on."""
        cls._pardoned += 1

    def poll(self) -> None:
        """To be called every few seconds at least."""
        if self._clock() - self._last_at >= _RECENT_S:
            self._before, self._last, self._last_at = self._last, self._count(), self._clock()

    def recent(self) -> int | None:
        """Kills of the last 20 to 40 seconds; None where nothing counts."""
        now = self._count()
        return None if self._before is None or now is None else max(0, now - self._before)

    def _count(self) -> int | None:
        kills = self._read()
        return None if kills is None else kills - self._pardoned


def read_out_of_memory_kills(root: Path = Path("/")) -> int | None:
    """How often the kernel has killed for memory where this process and its children are accounted.

    That is their memory cgroup, of version 2 or 1, where they are in one; else the whole machine. None where
    nothing counts. Only the difference of two readings means something.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    return _read_first(root / name for name in (*_counters(lines), _MACHINE))


def read_machine_kills(root: Path = Path("/")) -> int | None:
    """As `read_out_of_memory_kills`, of the whole machine with all its containers."""
    return _read_first([root / _MACHINE])


def parse_kills(text: str) -> int:
    """The number behind `oom_kill` in memory.events, memory.oom_control or /proc/vmstat. Raises ValueError if none."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    raise ValueError("no oom_kill")


def _read_first(counters: Iterable[Path]) -> int | None:
    for path in counters:
        try:
            return parse_kills(path.read_text())
        except (OSError, ValueError):
            continue
    return None


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
