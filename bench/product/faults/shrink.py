"""A budget that shrinks while a model serves: another process takes the memory, and the kernel kills the engine.

    python -m bench.product.faults.shrink --home HOME --scratch DIR SmolLM2-135M-Instruct:2560:1900,1700,1600,1500

MODEL:BUDGET:LEFT,… are MiB: vedette and its engine serve in a memory cgroup (version 1; needs root) of the budget,
asked full requests all the time; a process beside them takes memory until only LEFT is there for them. Recorded: the
cause of the crash, whether service returns with a smaller plan or vedette waits for memory or ends, and how long that
took. Then the process ends: service must return, or the plan must grow again once the engine is killed.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench.product.faults import clients, harness
from bench.product.faults.budgets import READY_S, PeakReader, full_requests
from bench.product.faults.harness import MIB
from tests.rig.cgroup import Cgroup
from tests.rig.leftovers import engine_processes, roles
from tests.rig.processes import Vedette

DEATH_S = 120.0
"""If the engine lives longer than this beside the process that takes the memory, it counts as not crashed."""
BACK_S = 150.0
"""Time for service to return before that process ends."""
_HOG = """
import sys, time
held = bytearray(int(sys.argv[1]))
for at in range(0, len(held), 4096):
    held[at] = 1
    if at % (64 << 20) == 0:
        time.sleep(0.2)
print("taken", flush=True)
sys.stdin.read()
"""


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--rest", type=float, default=0, help="seconds of quiet between ready and the first request")
    parser.add_argument("trials", nargs="+", metavar="MODEL:BUDGET:LEFT,…")
    options = parser.parse_args()
    records: list[dict[str, Any]] = []
    for trial in options.trials:
        model, budget, left = trial.split(":")
        for left_mib in map(int, left.split(",")):
            record, engine = shrink(options, model, int(budget), left_mib)
            records.append(record)
            print(json.dumps(record), flush=True)
            publish(options, engine, records)


def shrink(options: Any, model: str, budget_mib: int, left_mib: int) -> tuple[dict[str, Any], str | None]:
    """One trial: its record, and the engine's version."""
    home = harness.make_home(options.scratch / f"shrink-{time.time_ns()}", options.home)
    cgroup = Cgroup(budget_mib * MIB)
    record: dict[str, Any] = {"model": model, "budget_mib": budget_mib, "left_mib": left_mib}
    try:
        with (
            harness.running(home, model, cgroup=cgroup, environment=harness.environment(options)) as vedette,
            PeakReader(cgroup),
        ):
            if vedette.ready(READY_S) is None:
                raise SystemExit(
                    f"{model} does not serve in {budget_mib} MiB: {vedette.events[-1:]} {vedette.stderr_text}"
                )
            record["before"] = _plan(vedette)
            time.sleep(options.rest)
            with _pressed(vedette):
                with _hog(cgroup, (budget_mib - left_mib) * MIB) as began:
                    record |= _seen(vedette, began)
                if record["end"] != "ended":
                    record |= _after(vedette, record["end"] == "waits")
            record["kills"] = cgroup.killed
            record["deaths"] = [event["cause"]["code"] for event in vedette.events if event.get("state") == "failed"]
            record["traceback"] = "Traceback" in vedette.stderr_text
            engine = harness.engine_version(vedette)
        record["left_running"] = [process.name() for process in engine_processes(home)]
    finally:
        cgroup.remove()
    shutil.rmtree(home)
    return record, engine


def _plan(vedette: Vedette) -> str:
    plan = [event["plan"] for event in vedette.events if event["event"] == "plan"][-1]
    context = plan["context"]
    return f"{context['concurrency']} × {context['max_model_len']} in {plan['memory']['total_bytes'] // MIB:,}"


@contextlib.contextmanager
def _pressed(vedette: Vedette) -> Iterator[None]:
    """Sends full requests in a loop, as many at once as the plan allows."""
    ending = threading.Event()

    def press() -> None:
        while not ending.is_set():
            plan = [event["plan"] for event in vedette.events if event["event"] == "plan"][-1]
            full_requests(vedette.port, plan["model"], plan["context"], plan["context"]["concurrency"])
            ending.wait(1)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()


@contextlib.contextmanager
def _hog(cgroup: Cgroup, size_bytes: int) -> Iterator[float]:
    """A process that takes that much memory in the cgroup within a few seconds, and the time of its start."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOG, str(size_bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=cgroup.join,
    )
    try:
        yield time.monotonic()
    finally:
        process.kill()
        process.wait()


def _seen(vedette: Vedette, began: float) -> dict[str, Any]:
    """The record of what happened while the process held the memory."""
    death = vedette.first(lambda event: event.get("state") == "failed", DEATH_S, after=began)
    if death is None:
        if vedette.process.poll() is not None:
            return {"end": "ended", "sentence": f"status {vedette.process.returncode}: {vedette.stderr_text[-500:]}"}
        return {"end": "no death", "answered": _answers(vedette)}
    found = {"died_s": round(death["at"] - began, 1), "cause": death["cause"]["code"]}
    end = vedette.first(lambda event: event["event"] in ("ready", "error"), BACK_S, after=death["at"])
    notes = [event["sentence"] for event in vedette.events if event["event"] == "note" and event["at"] > began]
    if end is None:
        return found | {"end": "waits", "sentence": notes[-1] if notes else ""}
    found["took_s"] = round(end["at"] - death["at"], 1)
    if end["event"] == "error":
        return found | {"end": "ended", "sentence": end["sentence"], "status": vedette.process.wait(30)}
    return found | {"end": "serves", "with": _plan(vedette), "sentence": " ".join(notes), "answered": _answers(vedette)}


def _after(vedette: Vedette, waits: bool) -> dict[str, Any]:
    """Once the memory is free again, kills an engine that serves; returns the plan it then serves with."""
    at = time.monotonic()
    if not waits:
        roles(vedette)["server"].kill()
    ready = vedette.ready(READY_S, after=at)
    if ready is None:
        return {"later": "did not come back"}
    return {"later": _plan(vedette), "later_s": round(ready["at"] - at, 1), "answered_later": _answers(vedette)}


def _answers(vedette: Vedette) -> str:
    """The outcome of a plain question and its duration, as text."""
    model = str(vedette.status()["model"])
    question = (clients.tiny_questions(model, 1, 7) if "tiny" in model else clients.capital_questions(model))[0]
    reply = clients.ask(vedette.port, question)
    return f"{reply.outcome} in {reply.took_s:.1f} s {reply.detail}".strip()


def publish(options: Any, engine: str | None, records: list[dict[str, Any]]) -> None:
    """Publishes the report of all records so far."""
    lines = [
        *harness.heading("A budget that shrinks", engine or "no engine"),
        "Full requests run all the time, as many at once as the plan allows. `left` is what the process beside them "
        "leaves for vedette and its engine, in MiB; `died after` counts from its start, `back after` from the death. "
        f"`waits`: not back within {BACK_S:.0f} s. Later the memory is there again; who serves is then killed "
        "(SIGKILL) once more.",
        "",
    ]
    head = ("model", "budget", "left", "before", "died after", "cause", "end", "back after", "with", "later")
    body = [
        (
            one["model"],
            f"{one['budget_mib']:,}",
            f"{one['left_mib']:,}",
            one["before"],
            f"{one['died_s']:.0f} s" if "died_s" in one else "–",
            ", ".join(one["deaths"]) or "–",
            one["end"],
            f"{one['took_s']:.0f} s" if "took_s" in one else "–",
            one.get("with") or one.get("sentence") or one.get("answered", ""),
            f"{one['later']} after {one['later_s']:.0f} s" if "later_s" in one else one.get("later", "–"),
        )
        for one in records
    ]
    harness.publish(options, "shrink", [*lines, *harness.rows(head, body)], records)


if __name__ == "__main__":
    main()
