"""The record of the container that an engine runs in, so that a later vedette can find and stop it."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from vedette.files import read_whole, write_whole

_RECORD = "container.json"
_GRACE_S = 4
"""Time that a container has to stop by itself; with the steps that follow, `vedette down` takes less than 10 s."""
_COMMAND_TIMEOUT_S = 2.5
_MOST_OUTPUT_BYTES = 65_536
"""Of a command: it prints a name or a number."""


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
        record = read_whole(workplace / _RECORD, _MOST_OUTPUT_BYTES, own=True)
        program, name = msgspec.json.decode(record, type=tuple[str, str])
    except (OSError, ValueError, RecursionError):
        return None
    return None if name.startswith("-") else (program, name)


def _run(program: str, *words: str, timeout_s: float = _COMMAND_TIMEOUT_S) -> str | None:
    """What a command of the container engine prints; None if it fails or takes too long."""
    try:
        process = subprocess.Popen(
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # to kill what it has started, too
        )
    except (OSError, ValueError):
        return None
    with process, _killed_after(timeout_s, process):
        assert process.stdout is not None  # noqa: S101 - launched with a pipe
        output = process.stdout.read(_MOST_OUTPUT_BYTES)
        if len(output) == _MOST_OUTPUT_BYTES:
            _kill(process)
    return output.decode(errors="replace") if process.returncode == 0 else None


@contextlib.contextmanager
def _killed_after(timeout_s: float, process: "subprocess.Popen[bytes]") -> Iterator[None]:
    timer = threading.Timer(timeout_s, _kill, (process,))
    timer.daemon = True
    timer.start()
    try:
        yield
        process.wait()
    finally:
        timer.cancel()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
