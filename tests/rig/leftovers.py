"""Processes, files and memory that a vedette has started or left behind."""

import contextlib
import json
import os
import socket
import urllib.request
from pathlib import Path

import psutil

from tests.rig.processes import Vedette
from vedette.serve.access.owner_key import read_owner_key

SHARED_MEMORY = Path("/dev/shm")


def engine_processes(home: Path) -> list[psutil.Process]:
    """All processes that run in a home's engine directories, whatever their parent."""
    inside, found = os.path.realpath(home / "run" / "engine"), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if f"{process.cwd()}/".startswith(f"{inside}/"):
                found.append(process)
    return found


def roles(vedette: Vedette) -> dict[str, psutil.Process]:
    """The engine's `server` and, once it runs, its `core`; empty while no engine runs."""
    found = {}
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        key = read_owner_key(vedette.home / "access")
        request = urllib.request.Request(f"{vedette.url}/api/status", headers={"x-api-key": key or ""})
        with urllib.request.urlopen(request, timeout=10) as answer:
            pid = json.load(answer)["engine_pid"]
        if pid is not None:
            found["server"] = psutil.Process(pid)
            for child in found["server"].children(recursive=True):
                if child.name().startswith("VLLM::EngineCor"):
                    found["core"] = child
    return found


def orphans(vedette: Vedette) -> list[str]:
    """Engine processes that no longer descend from their vedette."""
    found = []
    for process in engine_processes(vedette.home):
        with contextlib.suppress(psutil.Error):
            if vedette.process.pid not in {parent.pid for parent in process.parents()}:
                found.append(f"{process.pid} {process.name()}")
    return found


def files_left(home: Path) -> list[str]:
    """Temporary files of a home's vedette and engines."""
    return sorted(path.name for path in (home / "tmp").rglob("*"))


def unused_shared_memory(since: set[Path]) -> list[Path]:
    """Files that are new in /dev/shm since `since` was read and that no process has mapped."""
    used = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            used |= {
                line.split(None, 5)[5].strip() for line in maps.read_text().splitlines() if str(SHARED_MEMORY) in line
            }
    return [path for path in sorted(set(SHARED_MEMORY.iterdir()) - since) if str(path) not in used]


def held_bytes(vedette: Vedette) -> tuple[int, int]:
    """Proportional memory of vedette itself, and of all its descendants."""
    own, others = 0, 0
    with contextlib.suppress(psutil.Error):
        own = _proportional_bytes(vedette.process.pid)
        others = sum(_proportional_bytes(child.pid) for child in psutil.Process(vedette.process.pid).children(True))
    return own, others


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
