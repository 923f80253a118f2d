"""What the fault benches share: a vedette under test, what is left afterwards, reports.

Everything goes through the `vedette` command and its port, as a person or a client would; nothing is ended that was
not started here. Run the benches from the repository's root, with `src` on PYTHONPATH or vedette installed:

    python -m bench.faults.kills --help
"""

import argparse
import collections
import contextlib
import json
import os
import platform
import shlex
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from bench.plan.in_cgroup import Cgroup
from tests import processes
from tests.processes import clean_environment, command, free_port, run_vedette

ROOT = Path(__file__).parents[2]
_T = TypeVar("_T")
MIB = 1024**2
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


# A vedette under test


@dataclass
class Vedette(processes.Vedette):
    """A vedette that runs as a process of its own; each event has the `at` of time.monotonic() at which it came."""

    def first(
        self, wanted: Callable[[dict[str, Any]], bool], within_s: float, after: float = 0.0
    ) -> dict[str, Any] | None:
        """The first wanted event later than `after`; None if vedette ended, or the time was over, before it came."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self.events if event["at"] > after and wanted(event)), None)

        with self.changed:
            self.changed.wait_for(lambda: found() or self.process.poll() is not None, within_s)
            return found()

    def ready(self, within_s: float, after: float = 0.0) -> dict[str, Any] | None:
        return self.first(lambda event: event["event"] == "ready", within_s, after)

    @property
    def said(self) -> str:
        """What it wrote beside its events: tracebacks, warnings."""
        return (self.home / "stderr.txt").read_text(errors="replace")


def make_home(directory: Path, borrowed: Path | None) -> Path:
    """A fresh home that uses the engines and models of another one, if one is given."""
    (directory / "tmp").mkdir(parents=True)
    (directory / "models").mkdir()
    if borrowed is not None:
        (directory / "engines").symlink_to((borrowed / "engines").absolute())
        for model in (borrowed / "models").iterdir():
            (directory / "models" / model.name).symlink_to(model.absolute())
    return directory


def start(home: Path, *arguments: str, cgroup: Cgroup | None = None, **environment: str) -> Vedette:
    """`vedette up --json` in the foreground on a free port, with temporary files of its own, in a cgroup if wished."""
    port = free_port()
    with (home / "stderr.txt").open("a") as errors:
        process = subprocess.Popen(
            command("up", *arguments, "--json", "--port", str(port)),
            env=clean_environment(home) | {"TMPDIR": str(home / "tmp")} | environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=cgroup.join if cgroup else None,
        )
    running = Vedette(process, home, port)
    threading.Thread(target=_collect, args=(running,), daemon=True).start()
    return running


def _collect(running: Vedette) -> None:
    assert running.process.stdout is not None
    with running.process.stdout as lines:
        for line in lines:
            event = json.loads(line) | {"at": time.monotonic()}
            with running.changed:
                running.events.append(event)
                running.changed.notify_all()
    running.process.wait()
    with running.changed:
        running.changed.notify_all()


@contextlib.contextmanager
def running(home: Path, *arguments: str, cgroup: Cgroup | None = None, **environment: str) -> Iterator[Vedette]:
    """A vedette that is stopped at the end, whatever happened in between."""
    vedette = start(home, *arguments, cgroup=cgroup, **environment)
    try:
        yield vedette
    finally:
        stop(vedette)


def stop(vedette: Vedette) -> None:
    """Ends a vedette, by force if it does not end by itself, and what it may have left."""
    vedette.process.terminate()
    try:
        vedette.process.wait(20)
    except subprocess.TimeoutExpired:
        vedette.process.kill()
        vedette.process.wait()
    run_vedette(vedette.home, "down")


# What it has started and what it leaves


def engine_processes(home: Path) -> list[psutil.Process]:
    """All processes that run in a home's workplaces, whoever their parent is."""
    inside, found = os.path.realpath(home / "run" / "engine"), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if f"{process.cwd()}/".startswith(f"{inside}/"):
                found.append(process)
    return found


def roles(vedette: Vedette) -> dict[str, psutil.Process]:
    """The engine's `server` and, once there is one, its `core`; nothing while no engine runs."""
    found = {}
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        with urllib.request.urlopen(f"{vedette.url}/api/status", timeout=10) as answer:
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
    """Shared memory that has come since a look at /dev/shm and that no process has mapped."""
    used = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            used |= {
                line.split(None, 5)[5].strip() for line in maps.read_text().splitlines() if str(SHARED_MEMORY) in line
            }
    return [path for path in sorted(set(SHARED_MEMORY.iterdir()) - since) if str(path) not in used]


def held_bytes(vedette: Vedette) -> tuple[int, int]:
    """Proportional memory of vedette itself, and of all that it has started."""
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


def in_parallel(count: int, tasks: Sequence[Callable[[], _T]]) -> Iterator[_T]:
    """What the tasks return, as they end; at most `count` run at once."""
    with ThreadPoolExecutor(count) as pool:
        for done in as_completed([pool.submit(task) for task in tasks]):
            yield done.result()


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


# Reports


def machine() -> str:
    """What it ran on, in a line."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    with contextlib.suppress(OSError):
        gpus = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
        ).stdout.split("\n")
        names = collections.Counter(filter(None, gpus))
        cpu += "".join(f", {count} × {name}" for name, count in names.items())
    memory = psutil.virtual_memory().total / 1024**3
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, {system}"


def engine_version(vedette: Vedette) -> str | None:
    """What its plan says of the engine; None if it came to none."""
    plan = next((event["plan"] for event in vedette.events if event["event"] == "plan"), None)
    return f"vLLM {plan['engine']['version']}" if plan else None


def commit() -> str:
    """Of the vedette that is tried."""
    head, changes = (
        subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "src"))
    )
    return (head or "unknown") + (" with changes" if changes else "")


def heading(title: str, engine: str) -> list[str]:
    """A report's first lines: what, when, on what, with what command."""
    words = list(sys.argv[1:])
    for place in ("--home", "--scratch", "--out", "--engine"):
        if place in words:  # which directories these were says nothing
            words[words.index(place) + 1] = place.strip("-").upper()
    line = shlex.join(["python", "-m", f"bench.faults.{Path(sys.argv[0]).stem}", *words])
    date = time.strftime("%Y-%m-%d")
    return [f"# {title}", "", f"{date}, {machine()}, {engine}, vedette at {commit()}.", "", f"    {line}", ""]


def rows(head: Sequence[str], body: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {' | '.join(map(str, line))} |" for line in body]


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Median and worst of some figures."""
    if not values:
        return "–"
    return f"median {statistics.median(values):.1f} {unit}, worst {max(values):.1f} {unit} of {len(values)}"


def publish(options: argparse.Namespace, name: str, report: Sequence[str], records: Sequence[dict[str, Any]]) -> None:
    """Prints the report, and writes it with its records, one JSON a line, into the directory that was asked for."""
    text = "\n".join(report) + "\n"
    print(text, flush=True)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{name}.md").write_text(text)
        (options.out / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all benches have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="a vedette home whose engines and models are used")
    parser.add_argument("--engine", help="what VEDETTE_ENGINE is to be, if not what vedette chooses")
    parser.add_argument("--scratch", type=Path, required=True, help="a directory that homes are made in")
    parser.add_argument("--out", type=Path, help="directory for the report and its records")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def environment(options: argparse.Namespace) -> dict[str, str]:
    """What the options set in vedette's environment."""
    return {"VEDETTE_ENGINE": options.engine} if options.engine else {}
