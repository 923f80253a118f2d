"""Shared parts of the fault benches: options, a vedette under test, reports.

Everything goes through the `vedette` command and its port, as a person or a client would; nothing is ended that was
not started here. Run the benches from the repository's root, with `src` on PYTHONPATH or vedette installed:

    python -m bench.product.faults.kills --help
"""

import argparse
import collections
import contextlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import psutil

from tests.rig.cgroup import Cgroup
from tests.rig.leftovers import SHARED_MEMORY, unused_shared_memory
from tests.rig.processes import Vedette, run_vedette, start_vedette, stop_process

ROOT = Path(__file__).parents[3]
_T = TypeVar("_T")
MIB = 1024**2
Task: TypeAlias = Callable[[], tuple[dict[str, Any], str | None]]
"""One trial; returns its record, and the engine's version if it is known."""
Publish: TypeAlias = Callable[[Any, str, list[dict[str, Any]], list[str]], None]
"""Writes a report: the options, the engine's version, all records so far, the leaked shared memory."""


def make_home(directory: Path, borrowed: Path | None) -> Path:
    """Makes a new home; links the engines and models of `borrowed` into it if that is given."""
    (directory / "tmp").mkdir(parents=True)
    (directory / "models").mkdir()
    if borrowed is not None:
        (directory / "engines").symlink_to((borrowed / "engines").absolute())
        for model in (borrowed / "models").iterdir():
            (directory / "models" / model.name).symlink_to(model.absolute())
    return directory


def start(
    home: Path, *arguments: str, cgroup: Cgroup | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Vedette:
    """Start a vedette with temporary files and stderr in its home, in a cgroup if given."""
    variables = {"TMPDIR": str(home / "tmp"), **environment}
    return start_vedette(home, arguments, cgroup=cgroup, stderr=home / "stderr.txt", environment=variables)


@contextlib.contextmanager
def running(
    home: Path, *arguments: str, cgroup: Cgroup | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Vedette]:
    """Starts a vedette; stops it and its engines at the end."""
    vedette = start(home, *arguments, cgroup=cgroup, environment=environment)
    try:
        yield vedette
    finally:
        stop(vedette)


def stop(vedette: Vedette) -> None:
    """Stop a vedette, by SIGKILL if SIGTERM does not stop it, and any engines that it left."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        stop_process(vedette.process)
    run_vedette(vedette.home, "down")


def in_parallel(count: int, tasks: Sequence[Callable[[], _T]]) -> Iterator[_T]:
    """The tasks' results in the order in which they end; at most `count` run at once."""
    with ThreadPoolExecutor(count) as pool:
        for done in as_completed([pool.submit(task) for task in tasks]):
            yield done.result()


def run_and_publish(options: Any, tasks: Sequence[Task], publish: Publish) -> None:
    """Runs the tasks and publishes the report after each; the last report also names leaked shared memory."""
    shared = set(SHARED_MEMORY.iterdir())
    records: list[dict[str, Any]] = []
    engine = None
    for record, found in in_parallel(options.parallel, tasks):
        engine = found or engine
        records.append(record)
        print(json.dumps(record), flush=True)
        publish(options, engine or "no engine", records, [])
    publish(options, engine or "no engine", records, [path.name for path in unused_shared_memory(shared)])


# Reports


def machine() -> str:
    """One line that describes this machine."""
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
    """The engine's version by the vedette's plan; None if no plan was made."""
    plan = next((event["plan"] for event in vedette.events if event["event"] == "plan"), None)
    return f"vLLM {plan['engine']['version']}" if plan else None


def commit() -> str:
    """The commit of the vedette under test."""
    head, changes = (
        subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "src"))
    )
    return (head or "unknown") + (" with changes" if changes else "")


def heading(title: str, engine: str) -> list[str]:
    """A report's first lines: title, date, machine, engine, commit and command."""
    words = list(sys.argv[1:])
    for place in ("--home", "--scratch", "--out", "--engine"):
        if place in words:  # the directories do not matter to a reader
            words[words.index(place) + 1] = place.strip("-").upper()
    line = shlex.join(["python", "-m", f"bench.product.faults.{Path(sys.argv[0]).stem}", *words])
    date = time.strftime("%Y-%m-%d")
    return [f"# {title}", "", f"{date}, {machine()}, {engine}, vedette at {commit()}.", "", f"    {line}", ""]


def rows(head: Sequence[str], body: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {' | '.join(map(str, line))} |" for line in body]


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Median and worst of the values, as text."""
    if not values:
        return "–"
    return f"median {statistics.median(values):.1f} {unit}, worst {max(values):.1f} {unit} of {len(values)}"


def publish(options: argparse.Namespace, name: str, report: Sequence[str], records: Sequence[dict[str, Any]]) -> None:
    """Prints the report, and writes it with its records, one JSON a line, into the directory given by --out."""
    text = "\n".join(report) + "\n"
    print(text, flush=True)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{name}.md").write_text(text)
        (options.out / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all fault benches have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="a vedette home whose engines and models are used")
    parser.add_argument("--engine", help="value of VEDETTE_ENGINE (default: vedette chooses)")
    parser.add_argument("--scratch", type=Path, required=True, help="directory in which homes are made")
    parser.add_argument("--out", type=Path, help="directory for the report and its records")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def environment(options: argparse.Namespace) -> dict[str, str]:
    """The environment variables that the options set for vedette."""
    return {"VEDETTE_ENGINE": options.engine} if options.engine else {}
