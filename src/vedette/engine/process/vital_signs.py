"""Whether an engine's processes do anything, as the kernel sees them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

_CORE_TITLE = "VLLM::"
"""vLLM names its core and its workers so; the server keeps its command line."""
_CORE_SHARE = 0.02
"""A core, with what it has started, that uses less of a processor computes nothing: threads wake up now and then."""
_SERVER_SHARE = 0.3
"""A server that uses more prepares requests; asking it for its metrics takes less."""
_FIND_AGAIN_S = 30.0


@dataclass(frozen=True)
class VitalSigns:
    """What the processes did since the last look."""

    computes: bool
    """They compute or wait for a disk, or this is unknown."""
    is_stopped: bool
    """One of them is stopped by a signal (SIGSTOP)."""


class Watched:
    """The processes of one engine. find: looks for them, which takes a while; server_pid: of the one that listens."""

    def __init__(self, find: Callable[[], Sequence[psutil.Process]], server_pid: int) -> None:
        self._find = find
        self._server_pid = server_pid
        self._processes: Sequence[psutil.Process] = ()
        self._found_at = float("-inf")
        self._looked_at = time.monotonic()
        self._used_s: dict[int, float] = {}
        self._computed = True
        """Whether they did at the last look; where not, a compiler may have been started that does."""

    def look(self) -> VitalSigns:
        """Look at the processes; blocks for some milliseconds."""
        now = time.monotonic()
        if now - self._found_at >= _FIND_AGAIN_S or not self._computed:
            self._processes, self._found_at = self._find(), now
        is_first = not self._used_s
        elapsed_s, self._looked_at = now - self._looked_at, now
        cores, core_s, server_s = 0, 0.0, 0.0
        is_stopped = waits_for_disk = False
        for process in self._processes:
            try:
                with process.oneshot():
                    state, is_server = process.status(), process.pid == self._server_pid
                    is_core = not is_server and process.name().startswith(_CORE_TITLE)
                    used_s = sum(process.cpu_times()[:4])  # of ended children too
            except psutil.Error:
                self._found_at = float("-inf")
                continue
            new_s = used_s - self._used_s.get(process.pid, used_s if is_first else 0.0)
            self._used_s[process.pid] = used_s
            is_stopped |= state == psutil.STATUS_STOPPED
            waits_for_disk |= state == psutil.STATUS_DISK_SLEEP
            cores += is_core
            core_s, server_s = core_s + new_s * (not is_server), server_s + new_s * is_server
        enough = core_s >= _CORE_SHARE * elapsed_s or server_s >= _SERVER_SHARE * elapsed_s
        self._computed = not cores or waits_for_disk or enough
        return VitalSigns(self._computed, is_stopped)
