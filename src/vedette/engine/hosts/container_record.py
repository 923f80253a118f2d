"""The record of the container that an engine runs in, so that a later vedette can find and stop it."""

import json
import subprocess
from pathlib import Path

import psutil

from vedette.files import write_whole

_RECORD = "container.json"
_GRACE_S = 4
"""Time that a container has to stop by itself; with the steps that follow, `vedette down` takes less than 10 s."""
_COMMAND_TIMEOUT_S = 2.5


def record_container(workplace: Path, program: str, name: str) -> None:
    """Record which container runs the engine of a working directory; program: Docker's or Podman's."""
    workplace.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(workplace / _RECORD, json.dumps([program, name]))


def end_container(workplace: Path) -> None:
    """Stop and remove the recorded container, by force if it does not stop in time."""
    record = _read_record(workplace)
    if record is None:
        return
    program, name = record
    if _run(program, "stop", "-t", str(_GRACE_S), name, timeout_s=_GRACE_S + 1) is None:
        _run(program, "kill", name)
    _run(program, "rm", "-f", name)


def container_processes(workplace: Path) -> list[psutil.Process]:
    """All processes of the recorded container; [] if none runs, or none can be seen.

    In a container, a process that loses its parent becomes a child of the first one.
    """
    record = _read_record(workplace)
    output = record and _run(record[0], "container", "inspect", "--format", "{{.State.Pid}}", record[1])
    try:
        first = psutil.Process(int(output or 0))  # 0 if it does not run: no process has that number
        return [first, *first.children(recursive=True)]
    except (ValueError, psutil.Error):
        return []


def _read_record(workplace: Path) -> tuple[str, str] | None:
    """Program and name of the container; None if no container was recorded."""
    try:
        program, name = json.loads((workplace / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return program, name


def _run(program: str, *words: str, timeout_s: float = _COMMAND_TIMEOUT_S) -> str | None:
    """What a command of the container engine prints; None if it fails or takes too long."""
    try:
        result = subprocess.run([program, *words], capture_output=True, timeout=timeout_s, check=False, text=True)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None
