"""A memory cgroup (version 1) to run a process in."""

import contextlib
import os
import signal
import time
from pathlib import Path


class Cgroup:
    """A memory cgroup with an optional limit; `remove` ends the processes in it."""

    def __init__(self, limit_bytes: int | None) -> None:
        self.path = Path(f"/sys/fs/cgroup/memory/vedette-bench-{os.getpid()}")
        self.path.mkdir()
        if limit_bytes is not None:
            (self.path / "memory.limit_in_bytes").write_text(str(limit_bytes))
        self.most: dict[str, int] = {}

    def join(self) -> None:
        """Put the calling process into the cgroup."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def look(self) -> None:
        """Note the largest values so far: anonymous memory, mapped files, and everything charged."""
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        now = {
            "anonymous": int(stat["total_rss"]),
            "mapped": int(stat["total_mapped_file"]),
            "charged": int((self.path / "memory.usage_in_bytes").read_text()),
        }
        for name, value in now.items():
            self.most[name] = max(self.most.get(name, 0), value)

    @property
    def killed(self) -> int:
        """How many processes the kernel has killed in it for lack of memory."""
        lines = (self.path / "memory.oom_control").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Kill the processes in the cgroup and remove it."""
        for _ in range(50):
            for pid in (self.path / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)
