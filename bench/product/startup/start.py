"""Measures the time to the first answer: `vedette up` beside bare `vllm serve` with the same arguments.

    python -m bench.product.startup.start --engine DIRECTORY [--model MODEL] [--rounds N] [--seconds N] [--cold]

--engine: an environment with vLLM, or its interpreter. The two alternate, so that other work on the machine weighs on
both; bare gets the arguments and variables of vedette's plan, and each is done when the same request, with a picture,
has been answered. The first round is one more than N, and has a table of its own: nothing is kept from earlier ones;
with --cold no file of the engine is in the page cache either. Phases are found from the engine's own log lines
as they are written. Tables come last.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from bench.lab.in_cgroup import forget_files
from tests.rig.processes import free_port
from vedette.engine.hosts.adopted import find_python

_GIVE_UP_S = 400.0
_MARKS = (
    ("server's imports", "non-default args"),
    ("configuration", "Chunked prefill is enabled"),
    ("core's start and imports", "Initializing a V1 LLM engine"),
    ("device and worker", "Starting to load model"),
    ("weights", "Loading weights took"),
    ("profile, KV cache, graphs", "init engine (profile, create kv cache"),
    ("routes and templates", "Application startup complete"),
)
"""Each phase with what is written at its end."""
BEFORE, ANSWER = "before the engine", "first answer"
PHASES = (BEFORE, *(name for name, _ in _MARKS), ANSWER)


@dataclass
class Start:
    """One start: seconds from the command until the request was answered, and of that in each phase."""

    way: str
    total_s: float
    processor_s: float
    """Processor time of all its processes; other work on the machine hardly changes it."""
    load: float
    phase_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where starts are measured."""

    python: Path
    model: str
    home: Path


class Lines:
    """Follows the log of a start and records when each mark appeared."""

    def __init__(self, path: Path) -> None:
        self.at: dict[str, float] = {}
        self._path, self._ended = path, threading.Event()
        self._following = threading.Thread(target=self._follow)
        self._following.start()

    def end(self) -> None:
        self._ended.set()
        self._following.join()

    def _follow(self) -> None:
        read = b""
        while not self._ended.wait(0.02):
            with contextlib.suppress(OSError):
                now = self._path.read_bytes()
                for name, mark in ((BEFORE, ""), *_MARKS):
                    if name not in self.at and mark.encode() in now and len(now) > len(read):
                        self.at[name] = time.monotonic()
                read = now


def start_vedette(site: Site) -> tuple[Start, dict[str, Any]]:
    """`vedette up` until it has answered; also returns the engine's part of its plan."""
    log = site.home / "run" / "engine.log"
    log.unlink(missing_ok=True)
    port = free_port()
    variables = {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}
    variables |= {"VEDETTE_HOME": str(site.home), "VEDETTE_ENGINE": str(site.python), "VEDETTE_STANDBY": "off"}
    variables |= {"VEDETTE_CONFIG": str(site.home / "none.toml"), "VEDETTE_WAIT_S": "600"}
    began = time.monotonic()
    with (site.home / "events").open("wb") as events:
        process = subprocess.Popen(
            [sys.executable, "-m", "vedette", "up", site.model, "--json", "--port", str(port)],
            env=variables,
            stdout=events,
        )
        start = _measure("vedette", process, port, log, began)
    printed = [json.loads(line) for line in (site.home / "events").read_text().splitlines()]
    return start, next(event["plan"]["engine"] for event in printed if event["event"] == "plan")


def start_bare(site: Site, engine: dict[str, Any]) -> Start:
    """`vllm serve` with a plan's own arguments and variables until it has answered."""
    log = site.home / "bare.log"
    log.unlink(missing_ok=True)
    port = free_port()
    arguments = list(engine["argv"][1:])
    at = arguments.index("--uds")  # vedette's own way, which nothing else can ask
    arguments[at : at + 2] = "--host", "127.0.0.1", "--port", str(port)
    kept = re.compile("PATH|HOME|USER|LANG|LC_.*|TMPDIR|PYTHONPATH|(LD|CUDA|NVIDIA|VLLM|TORCH|GLOO)_.*")
    variables = {name: value for name, value in os.environ.items() if kept.fullmatch(name)} | engine["env"]
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(site.python), "-m", "vllm.entrypoints.cli.main", *arguments],
            env=variables,
            stdout=output,
            stderr=output,
            cwd=site.home,
            start_new_session=True,
        )
        try:
            return _measure("bare", process, port, log, began)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _measure(way: str, process: "subprocess.Popen[bytes]", port: int, log: Path, began: float) -> Start:
    lines = Lines(log)
    try:
        _ask(process, port, began)
        done, computed = time.monotonic(), _processor_s(process.pid)
    except BaseException:
        print(log.read_text(errors="replace")[-3000:] if log.exists() else "no log")
        raise
    finally:
        lines.end()
        process.terminate()
        process.wait(30)
    start, before = Start(way, done - began, computed, os.getloadavg()[0]), began
    for name in PHASES:
        at = done if name == ANSWER else lines.at.get(name, before)
        start.phase_s[name], before = at - before, at
    return start


def _processor_s(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:4]) for one in (process, *process.children(recursive=True)))


def _ask(process: "subprocess.Popen[bytes]", port: int, began: float) -> None:
    """Asks until the server answers."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=600) as answer:
                name = json.load(answer)["data"][0]["id"]
            content = [{"type": "image_url", "image_url": {"url": _picture()}}, {"type": "text", "text": "What is it?"}]
            body = {"model": name, "max_tokens": 8, "messages": [{"role": "user", "content": content}]}
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=600) as answer:
                assert json.load(answer)["choices"]
                return
        except (OSError, IndexError, KeyError):
            assert process.poll() is None, "it ended"
            assert time.monotonic() - began < _GIVE_UP_S, "the server never answered"
            time.sleep(0.05)


def _picture() -> str:
    data = io.BytesIO()
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").save(data, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def forget(site: Site, cold: bool) -> None:
    """Removes what vLLM keeps between starts and, if cold, drops the page cache of the engine's libraries."""
    shutil.rmtree(site.home / "cache" / "vllm", ignore_errors=True)
    if not cold:
        return
    where = "import importlib.util as u; print(u.find_spec('vllm').submodule_search_locations[0])"
    found = subprocess.run([str(site.python), "-c", where], capture_output=True, text=True, check=True)
    forget_files(Path(found.stdout.strip()).parent)


def starts(site: Site, rounds: int, until: float, cold: bool) -> Iterator[Start]:
    """Starts both ways in turn; the first start of each way finds nothing kept from earlier starts."""
    engine: dict[str, Any] = {}
    longest = 0.0
    for number in range(rounds + 1):
        for way in ("vedette", "bare"):
            if time.monotonic() + longest > until:
                return
            if number == 0:
                forget(site, cold)
            began = time.monotonic()
            if way == "vedette":
                start, engine = start_vedette(site)
            else:
                start = start_bare(site, engine)
            longest = max(longest, time.monotonic() - began)
            print(f"{number} {way}: {start.total_s:.1f} s (load {start.load:.1f})", flush=True)
            yield start


def _phase_s(name: str, start: Start) -> float:
    return start.phase_s[name]


def table(found: list[Start]) -> str:
    """Medians of each way, and of the difference of each pair."""
    ways = {way: [start for start in found if start.way == way] for way in ("bare", "vedette")}
    pairs = list(zip(ways["bare"], ways["vedette"], strict=False))
    lines = [f"| {len(pairs)} pairs | bare `vllm serve` | `vedette up` | difference |", "|---|---|---|---|"]
    rows: dict[str, Callable[[Start], float]] = {
        "answered after": lambda start: start.total_s,
        "processor time until then": lambda start: start.processor_s,
        **{name: partial(_phase_s, name) for name in PHASES},
    }
    for name, value_of in rows.items():
        values = {way: [value_of(start) for start in chosen] for way, chosen in ways.items()}
        differences = [own - bare for bare, own in zip(values["bare"], values["vedette"], strict=False)]
        cells = (spread(values["bare"]), spread(values["vedette"]), spread(differences, sign="+"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(seconds: list[float], sign: str = "") -> str:
    if not seconds:
        return "–"
    middle = f"{statistics.median(seconds):{sign}.1f} s"
    return middle if len(seconds) == 1 else f"{middle} ({min(seconds):{sign}.1f} to {max(seconds):{sign}.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--model", default="vedette-tiny")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as home:
        site = Site(find_python(options.engine), options.model, Path(home))
        found = list(starts(site, options.rounds, until, options.cold))
    print(f"\nFirst starts\n\n{table(found[:2])}\n\nLater starts\n\n{table(found[2:])}")


if __name__ == "__main__":
    main()
