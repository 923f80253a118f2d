"""vedette as a process: started from its command line, followed by its events, stopped."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.rig.cgroup import Cgroup

READY_WITHIN_S = 900
"""Making the engine's environment takes minutes on a slow index; only a hang takes longer than this."""
STOPPED_WITHIN_S = 20

Event = dict[str, Any]
Wanted = Callable[[Event], bool]


@dataclass
class Vedette:
    """A `vedette up --json` that runs as a process of its own."""

    process: "subprocess.Popen[str]"
    home: Path
    port: int
    stderr: Path | None = None
    events: list[Event] = field(default_factory=list)
    """Events so far; each has its `at`, the time.monotonic() at which it came."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stderr_text(self) -> str:
        """Tracebacks and warnings, if stderr goes to a file."""
        return self.stderr.read_text(errors="replace") if self.stderr else ""

    def first(self, wanted: Wanted, within_s: float, after: float = 0.0) -> Event | None:
        """Wait for the first wanted event later than `after`; None if vedette ends or the time is over before it."""

        def found() -> Event | None:
            return next((event for event in self.events if event["at"] > after and wanted(event)), None)

        with self.changed:
            self.changed.wait_for(lambda: found() or self.process.poll() is not None, within_s)
            return found()

    def ready(self, within_s: float, after: float = 0.0) -> Event | None:
        return self.first(lambda event: event["event"] == "ready", within_s, after)

    def wait_for(self, wanted: Wanted, within_s: float = READY_WITHIN_S) -> Event:
        """Wait for the first wanted event; a test fails without one."""
        event = self.first(wanted, within_s)
        assert event is not None, f"no such event (exit: {self.process.poll()}); last events: {self.events[-5:]}"
        return event

    def wait_until_ready(self) -> Event:
        return self.wait_for(lambda event: event["event"] == "ready")

    def status(self) -> dict[str, Any]:
        result = run_vedette(self.home, "status", "--json")
        status: dict[str, Any] = json.loads(result.stdout)
        return status


def run_vedette(
    home: Path, *arguments: str, within_s: float = 120, environment: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[str]":
    """Run one vedette command to its end."""
    return subprocess.run(
        command(*arguments), env=clean_environment(home, environment), capture_output=True, text=True, timeout=within_s
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vedette", *arguments]


def clean_environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without vedette's variables, in English, with `home` and `more`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("VEDETTE_")}
    own = {"VEDETTE_HOME": str(home), "VEDETTE_CONFIG": str(home / "config.toml"), "LC_ALL": "C.UTF-8"}
    return kept | own | dict(more)


def start_vedette(
    home: Path,
    arguments: Sequence[str] = (),
    *,
    cgroup: Cgroup | None = None,
    stderr: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Vedette:
    """Start `vedette up --json` in the foreground on a free port, in a cgroup and with stderr in a file if given."""
    port = free_port()
    with contextlib.ExitStack() as files:
        process = subprocess.Popen(
            command("up", *arguments, "--json", "--port", str(port)),
            env=clean_environment(home, environment),
            stdout=subprocess.PIPE,
            stderr=files.enter_context(stderr.open("a")) if stderr else None,
            text=True,
            preexec_fn=cgroup.join if cgroup else None,
        )
    vedette = Vedette(process, home, port, stderr)
    threading.Thread(target=_collect, args=(vedette,), daemon=True).start()
    return vedette


def _collect(vedette: Vedette) -> None:
    assert vedette.process.stdout is not None
    with vedette.process.stdout as lines:
        for line in lines:
            event = json.loads(line) | {"at": time.monotonic()}
            with vedette.changed:
                vedette.events.append(event)
                vedette.changed.notify_all()
    vedette.process.wait()
    with vedette.changed:
        vedette.changed.notify_all()


@contextlib.contextmanager
def vedette_running(
    home: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Vedette]:
    """A vedette that is stopped at the end; one that does not stop by itself is an error."""
    vedette = start_vedette(home, arguments, environment=environment)
    try:
        yield vedette
    finally:
        stop_process(vedette.process)


def stop_process(process: "subprocess.Popen[str]") -> None:
    """Terminate a process; kill it and raise TimeoutExpired if it has not ended after STOPPED_WITHIN_S."""
    process.terminate()
    try:
        process.wait(STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
