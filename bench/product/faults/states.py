"""Kills vedette itself (SIGKILL) in every state and phase and tests that the next `up` cleans up and serves.

    python -m bench.product.faults.states --home HOME --scratch DIR --times 2

`fetching model` and `installing engine` start without models or engines of their own and need a package index; they
take minutes.

After each kill: how long the engine outlives vedette, the exit status of `vedette status`, whether the next `up`
serves and answers correctly, and what that one leaves after it was stopped.
"""

import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.product.faults import clients, harness
from bench.product.faults.stop import left
from tests.rig.leftovers import engine_processes, roles
from tests.rig.processes import Vedette, run_vedette

READY_S = 900.0
OUTLIVED_S = 15.0
_MOMENT_S = {
    "detecting device": 0.0,
    "choosing model": 0.0,
    "fetching model": 20.0,
    "installing engine": 60.0,
    "planning": 0.0,
    "launching engine": 8.0,
    "loading weights": 1.0,
    "profiling": 1.0,
    "warming up": 0.5,
    "ready": 5.0,
    "failed": 3.0,
    "draining": 1.0,
}
"""The latest random moment of the kill after the phase was seen."""
_ALONE: dict[str, Callable[[Path], list[Path]]] = {
    "fetching model": lambda home: list((home / "models").iterdir()),
    "installing engine": lambda home: [home / "engines"],
}
"""Paths to remove from a home so that the phase takes some time."""


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--phases", nargs="+", default=list(_MOMENT_S), choices=list(_MOMENT_S), metavar="PHASE")
    options = parser.parse_args()
    phases = list(options.phases) * options.times
    tasks = [partial(try_phase, options, phase, options.seed * 1000 + number) for number, phase in enumerate(phases)]
    harness.run_and_publish(options, tasks, publish)


def try_phase(options: Any, phase: str, seed: int) -> tuple[dict[str, Any], str | None]:
    """One kill in one phase and the result of the next `up`, and the engine's version."""
    rng = random.Random(seed)
    home = harness.make_home(options.scratch / f"states-{time.time_ns()}", options.home)
    for path in _ALONE[phase](home) if phase in _ALONE else ():
        path.unlink()
    model = "HuggingFaceTB/SmolLM2-135M-Instruct" if phase == "fetching model" else "vedette-tiny"
    record: dict[str, Any] = {"phase": phase}
    first = harness.start(home, model, environment=harness.environment(options))
    try:
        record["reached"] = _reach(first, phase)
        time.sleep(rng.uniform(0, _MOMENT_S[phase]))
        before = engine_processes(home)
        first.process.kill()
        first.process.wait()
        record |= {"at": _last(first), "engine_processes": len(before)}
        record["outlived_s"] = _outlived(home)
        record["status"] = run_vedette(home, "status").returncode
        second = harness.start(home, model, environment=harness.environment(options))
        record |= _next(second, model)
        engine = harness.engine_version(second)
        harness.stop(second)
        record["left"] = left(second)
        record["traceback"] = "Traceback" in second.stderr_text
    finally:
        for process in engine_processes(home):
            with contextlib.suppress(psutil.Error):
                process.kill()
    shutil.rmtree(home)
    return record, engine


def _reach(vedette: Vedette, phase: str) -> bool:
    """Waits for a phase or causes it; returns whether it was seen."""
    if phase in ("ready", "failed", "draining"):
        assert vedette.ready(READY_S), f"{vedette.events[-1:]} {vedette.stderr_text}"
        if phase == "ready":
            return True
        if phase == "draining":
            vedette.process.send_signal(signal.SIGTERM)
        else:
            roles(vedette)["server"].kill()
        return vedette.first(lambda event: event.get("state") == phase, 30) is not None
    return vedette.first(lambda event: event.get("phase") == phase, READY_S) is not None


def _last(vedette: Vedette) -> str:
    events = [event for event in vedette.events if event["event"] in ("status", "ready")]
    return f"{events[-1].get('state', 'ready')} {events[-1].get('phase') or ''}".strip() if events else "–"


def _outlived(home: Path) -> float | None:
    """Seconds until all engine processes have ended; None if some are alive after OUTLIVED_S."""
    began = time.monotonic()
    while engine_processes(home):
        if time.monotonic() - began > OUTLIVED_S:
            return None
        time.sleep(0.1)
    return round(time.monotonic() - began, 1)


def _next(vedette: Vedette, model: str) -> dict[str, Any]:
    """The result of the next `up`: ready or not, how fast, and how a question was answered."""
    began = time.monotonic()
    end = vedette.first(lambda event: event["event"] in ("ready", "error"), READY_S)
    if end is None or end["event"] == "error":
        with contextlib.suppress(subprocess.TimeoutExpired):
            vedette.process.wait(1)
        return {"next": end["sentence"] if end else f"nothing: {vedette.stderr_text[-500:]}", "answer": "–"}
    took_s = round(time.monotonic() - began, 1)
    questions = clients.tiny_questions(model, 1, 7) if model == "vedette-tiny" else clients.capital_questions(model)
    return {"next": "ready", "next_s": took_s, "answer": clients.ask(vedette.port, questions[0]).outcome}


def publish(options: Any, engine: str, records: list[dict[str, Any]], leaked: list[str]) -> None:
    """Publishes the report of all records so far."""
    good = sum(record["next"] == "ready" and record["answer"] == "right" for record in records)
    clean = sum(not record["left"] for record in records)
    lines = [
        *harness.heading("vedette itself killed", engine),
        f"{len(records)} SIGKILLs of vedette, each at a random moment of the phase named: the next `up` served and "
        f"answered rightly after {good}, and stopping that one left nothing {clean} times; "
        f"after all of them there were {len(leaked)} unused pieces of shared memory. "
        "`engine ended after` counts from the kill, without any help; `status` is its exit status (3: not running).",
        "",
    ]
    body = []
    for phase in dict.fromkeys(record["phase"] for record in records):
        these = [record for record in records if record["phase"] == phase]
        outlived = [f"{one['outlived_s']:.1f} s" if one["outlived_s"] is not None else "**not**" for one in these]
        body.append(
            (
                phase,
                len(these),
                ", ".join(dict.fromkeys(one["at"] for one in these)),
                ", ".join(outlived),
                ", ".join(dict.fromkeys(str(one["status"]) for one in these)),
                ", ".join(
                    f"{one['next']} in {one['next_s']:.0f} s" if "next_s" in one else one["next"] for one in these
                ),
                ", ".join(dict.fromkeys(one["answer"] for one in these)),
                ", ".join(sorted({name.split()[0] for one in these for name in one["left"]})) or "nothing",
            )
        )
    head = ("phase", "kills", "last event", "engine ended after", "status", "next `up`", "answer", "left at the end")
    harness.publish(options, "states", [*lines, *harness.rows(head, body)], records)


if __name__ == "__main__":
    main()
