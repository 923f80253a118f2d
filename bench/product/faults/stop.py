"""Measures that `vedette down` takes at most 10 s in every state of the engine and leaves nothing.

    python -m bench.product.faults.stop --home HOME --scratch DIR --times 5

An engine that is stopped (SIGSTOP) does not handle SIGTERM; the reports call it deaf.
"""

import contextlib
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil

from bench.product.faults import clients, harness
from tests.rig.leftovers import engine_processes, files_left, port_is_free, roles
from tests.rig.processes import Vedette, run_vedette

LIMIT_S = 10.0
READY_S = 300.0
LONGEST_MOMENT_S = 30.0
_KEPT = {"calibrations", "engine.log", "engine.log.1", "server.log"}
"""Names of files that a vedette may leave in its run directory."""


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--model", default="vedette-tiny")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    options = parser.parse_args()
    cases = list(options.cases) * options.times
    tasks = [partial(try_case, options, case, options.seed * 1000 + number) for number, case in enumerate(cases)]
    harness.run_and_publish(options, tasks, publish)


def try_case(options: Any, case: str, seed: int) -> tuple[dict[str, Any], str | None]:
    """Starts a vedette, brings it into a state, stops it there; returns the record and the engine's version."""
    rng = random.Random(seed)
    home = harness.make_home(options.scratch / f"stop-{time.time_ns()}", options.home)
    vedette = harness.start(home, options.model, environment=harness.environment(options))
    try:
        CASES[case](vedette, rng)
        states = [f"{event['state']} {event['phase'] or ''}" for event in vedette.events if event["event"] == "status"]
        began = time.monotonic()
        returned = _end(vedette, case)
        took_s = time.monotonic() - began
        record = {"case": case, "last_state": states[-1].strip(), "took_s": round(took_s, 2), "returned": returned}
        record["left"] = left(vedette)
        record["traceback"] = "Traceback" in vedette.stderr_text
        engine = harness.engine_version(vedette)
    finally:
        vedette.process.kill()
        for process in engine_processes(home):
            with contextlib.suppress(psutil.Error, OSError):
                process.kill()
        vedette.process.wait()
    shutil.rmtree(home)
    return record, engine


def _end(vedette: Vedette, case: str) -> int:
    if not case.startswith("Ctrl-C"):
        return run_vedette(vedette.home, "down").returncode
    for _ in range(2 if "twice" in case else 1):
        vedette.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    return vedette.process.wait(60)


def left(vedette: Vedette) -> list[str]:
    """Names of everything that a stopped vedette has left."""
    found = [f"process {process.name()}" for process in engine_processes(vedette.home)]
    if not port_is_free(vedette.port):
        found.append("port")
    found += [f"temporary {name}" for name in files_left(vedette.home)]
    return found + [f"run/{path.name}" for path in (vedette.home / "run").iterdir() if path.name not in _KEPT]


def _starting(vedette: Vedette, rng: random.Random) -> None:
    assert vedette.first(lambda event: event.get("phase") == "launching engine", READY_S), vedette.stderr_text
    time.sleep(rng.uniform(0, LONGEST_MOMENT_S))


def _starting_deaf(vedette: Vedette, rng: random.Random) -> None:
    _starting(vedette, rng)
    _freeze(vedette)


def _ready(vedette: Vedette, _: random.Random) -> None:
    assert vedette.ready(READY_S), f"{vedette.events[-1:]} {vedette.stderr_text}"


def _ready_busy(vedette: Vedette, rng: random.Random) -> None:
    _ready(vedette, rng)
    load = clients.Load(vedette.port, clients.tiny_questions("vedette-tiny", 1, 7), 4)
    load.__enter__()  # the thread ends when this vedette closes its port
    time.sleep(rng.uniform(1, 3))
    load.ending.set()


def _ready_deaf(vedette: Vedette, rng: random.Random) -> None:
    _ready(vedette, rng)
    _freeze(vedette)


def _core_deaf(vedette: Vedette, rng: random.Random) -> None:
    _ready(vedette, rng)
    _freeze(vedette, "core")


def _busy_deaf(vedette: Vedette, rng: random.Random) -> None:
    _ready_busy(vedette, rng)
    _freeze(vedette)


def _vedette_deaf(vedette: Vedette, rng: random.Random) -> None:
    _ready(vedette, rng)
    vedette.process.send_signal(signal.SIGSTOP)


def _after_a_kill(vedette: Vedette, rng: random.Random) -> None:
    _ready(vedette, rng)
    roles(vedette)["server"].kill()
    time.sleep(rng.uniform(0, 4))


def _freeze(vedette: Vedette, role: str | None = None) -> None:
    for process in engine_processes(vedette.home) if role is None else [roles(vedette)[role]]:
        with contextlib.suppress(psutil.Error):
            process.suspend()


CASES: dict[str, Callable[[Vedette, random.Random], None]] = {
    "starting": _starting,
    "starting, engine deaf": _starting_deaf,
    "ready": _ready,
    "ready and busy": _ready_busy,
    "ready, engine deaf": _ready_deaf,
    "ready, engine core deaf": _core_deaf,
    "busy, engine deaf": _busy_deaf,
    "ready, vedette deaf": _vedette_deaf,
    "engine just killed": _after_a_kill,
    "Ctrl-C while starting": _starting,
    "Ctrl-C twice, engine deaf": _ready_deaf,
}


def publish(options: Any, engine: str, records: list[dict[str, Any]], leaked: list[str]) -> None:
    """Publishes the report of all records so far."""
    late = sum(record["took_s"] > LIMIT_S for record in records)
    untidy = sum(bool(record["left"]) for record in records)
    lines = [
        *harness.heading("Stopping", engine),
        f"{len(records)} stops, each of a start of its own: {late} took more than {LIMIT_S:.0f} s, {untidy} left "
        f"something (processes, port, temporary files, locks), and after all of them {len(leaked)} pieces of shared "
        "memory were there that are unused. `deaf` is stopped with SIGSTOP: a process that takes no SIGTERM. Moments "
        "while starting are random. The time is that of the command `vedette down`, or from Ctrl-C (SIGINT) to the end "
        "of vedette.",
        "",
    ]
    body = []
    for case in dict.fromkeys(record["case"] for record in records):
        these = [record for record in records if record["case"] == case]
        names = sorted({name.split()[0] for record in these for name in record["left"]})
        body.append(
            (case, len(these), harness.spread([record["took_s"] for record in these]), ", ".join(names) or "nothing")
        )
    harness.publish(
        options, "stop", [*lines, *harness.rows(("state", "times", "stopped after", "left"), body)], records
    )


if __name__ == "__main__":
    main()
