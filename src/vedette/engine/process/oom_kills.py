"""The kernel's counters of processes that it killed because memory ran out: a killed process cannot report it."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

_MACHINE = "proc/vmstat"
_RECENT_S = 20.0
"""Age of a kill that may have ended an engine: its processes take seconds to notice that one of them has died."""


class KillWatch:
    """Counts recent kills. Where a counter includes more than the engine, an old kill hit another program.

    read: the counter, as `read_out_of_memory_kills`. clock: in seconds.
    """

    _ignored = 0

    def __init__(self, read: Callable[[], int | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._before = self._last = self._count()
        self._last_at = clock()

    @classmethod
    def ignore_one(cls) -> None:
        """Leave one kill out of every watch's count: it hit a process that no engine depends on."""
        cls._ignored += 1

    def poll(self) -> None:
        """Read the counter if it is time to; call this every few seconds."""
        if self._clock() - self._last_at >= _RECENT_S:
            self._before, self._last, self._last_at = self._last, self._count(), self._clock()

    def recent(self) -> int | None:
        """Kills of the last 20 to 40 seconds; None if nothing counts them."""
        now = self._count()
        return None if self._before is None or now is None else max(0, now - self._before)

    def _count(self) -> int | None:
        kills = self._read()
        return None if kills is None else kills - self._ignored


def read_out_of_memory_kills(root: Path = Path("/")) -> int | None:
    """The kernel's out-of-memory kills so far, in this process's memory cgroup or else on the whole machine.

    The cgroup may be of version 2 or 1. None if nothing counts them. Only the difference of two readings has a meaning.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    return _read_first(root / name for name in (*_counters(lines), _MACHINE))


def read_machine_kills(root: Path = Path("/")) -> int | None:
    """The kernel's out-of-memory kills so far on the whole machine, containers included; None if not counted."""
    return _read_first([root / _MACHINE])


def parse_kills(text: str) -> int:
    """The `oom_kill` of memory.events, memory.oom_control or /proc/vmstat. Raises ValueError if there is none."""
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
    """The counters of the cgroups in /proc/self/cgroup, except the root's, which has no counter."""
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
