"""The container that was started from a workplace: recorded, so that whoever comes later can find and end it."""

import json
import subprocess
from pathlib import Path

import psutil

_RECORD = "container.json"
_GRACE_S = 4
"""How long a container may take to end by itself; with what follows `down` stays under 10 s."""
_PATIENCE_S = 2.5
"""How long the container engine itself is waited for when it is told to end one."""


def note_container(workplace: Path, program: str, name: str) -> None:
    """Notes which container is started from a workplace, so that it is found whoever started it."""
    workplace.mkdir(mode=0o700, parents=True, exist_ok=True)
    (workplace / _RECORD).write_text(json.dumps([program, name]), encoding="utf-8")


def end_container(workplace: Path) -> None:
    """Ends and removes the container that was started from a workplace, by force if it does not listen."""
    noted = _read_note(workplace)
    if noted is None:
        return
    program, name = noted

    def tell(*words: str, within_s: float = _PATIENCE_S) -> bool:
        return _tell(program, *words, within_s=within_s) is not None

    if not tell("stop", "-t", str(_GRACE_S), name, within_s=_GRACE_S + 1):
        tell("kill", name)
    tell("rm", "-f", name)


def container_processes(workplace: Path) -> list[psutil.Process]:
    """All processes of the container that runs from a workplace; [] if none does, or none that can be seen.

    Whoever loses its parent in a container becomes a child of its first process.
    """
    noted = _read_note(workplace)
    said = noted and _tell(noted[0], "container", "inspect", "--format", "{{.State.Pid}}", noted[1])
    try:
        first = psutil.Process(int(said or 0))  # 0 of one that does not run: no process has that number
        return [first, *first.children(recursive=True)]
    except (ValueError, psutil.Error):
        return []


def _read_note(workplace: Path) -> tuple[str, str] | None:
    """Program and name of the container that was started from a workplace; None if none was."""
    try:
        program, name = json.loads((workplace / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return program, name


def _tell(program: str, *words: str, within_s: float = _PATIENCE_S) -> str | None:
    """What a container engine's command prints; None if it fails or takes too long."""
    try:
        ended = subprocess.run([program, *words], capture_output=True, timeout=within_s, check=False, text=True)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
