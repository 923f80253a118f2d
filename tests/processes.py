"""vedette as a process: started as a person would, listened to, stopped."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

READY_WITHIN_S = 900
"""Making the engine's environment takes minutes on a slow index; only a hang takes longer than this."""


@dataclass
class Vedette:
    """A vedette that runs as a process of its own."""

    process: "subprocess.Popen[str]"
    home: Path
    port: int
    events: list[dict[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], within_s: float = READY_WITHIN_S) -> dict[str, Any]:
        """The first event so far or to come that is wanted."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self.events if wanted(event)), None)

        with self.changed:
            done = self.changed.wait_for(lambda: found() or self.process.poll() is not None, within_s)
            event = found()
        assert event is not None, f"waited for in vain (ended: {done}); last events: {self.events[-5:]}"
        return event

    def wait_until_ready(self) -> dict[str, Any]:
        return self.wait_for(lambda event: event["event"] == "ready")

    def status(self) -> dict[str, Any]:
        result = run_vedette(self.home, "status", "--json")
        status: dict[str, Any] = json.loads(result.stdout)
        return status


def run_vedette(
    home: Path, *arguments: str, within_s: float = 120, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """One vedette command, to its end."""
    return subprocess.run(
        command(*arguments), env=clean_environment(home) | environment, capture_output=True, text=True, timeout=within_s
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vedette", *arguments]


def clean_environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("VEDETTE_")}
    return kept | {"VEDETTE_HOME": str(home), "VEDETTE_CONFIG": str(home / "config.toml")}


def start_vedette(home: Path, arguments: Sequence[str] = (), **environment: str) -> Vedette:
    """`vedette up --json` in the foreground on a free port; its events are collected as they come."""
    port = free_port()
    process = subprocess.Popen(
        command("up", *arguments, "--json", "--port", str(port)),
        env=clean_environment(home) | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = Vedette(process, home, port)
    threading.Thread(target=_collect, args=(running,), daemon=True).start()
    return running


def _collect(running: Vedette) -> None:
    assert running.process.stdout is not None
    with running.process.stdout as lines:
        for line in lines:
            with running.changed:
                running.events.append(json.loads(line))
                running.changed.notify_all()
    running.process.wait()
    with running.changed:
        running.changed.notify_all()


@contextlib.contextmanager
def vedette_running(home: Path, *arguments: str, **environment: str) -> Iterator[Vedette]:
    """A vedette that is stopped at the end, whatever happened in between."""
    running = start_vedette(home, arguments, **environment)
    try:
        yield running
    finally:
        running.process.terminate()
        try:
            running.process.wait(15)
        except subprocess.TimeoutExpired:
            running.process.kill()
            raise


def engine_processes(home: Path) -> list[psutil.Process]:
    """What is left of the engines of a home."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            at, place = process.cwd(), os.path.realpath(home / "run" / "engine")
            if at == place or at.startswith(f"{place}/"):
                found.append(process)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
