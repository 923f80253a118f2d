"""Kills the engine (SIGKILL) under load at random moments, during starts too, and tests that it always serves again.

    python -m bench.product.faults.kills --home HOME --scratch DIR --kills 100 --parallel 2

Each of the parallel vedettes has a home and a port of its own, and clients that ask questions with known answers.
The victim is the API server or the engine core, at random; the moment is drawn evenly from the first minute after the
engine was last started, so that many kills hit a start. vedette gives up after eight deaths with no ten seconds of
service between them; therefore, after five such, the next kill waits for service.
"""

import contextlib
import json
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench.product.faults import clients, harness
from tests.rig.leftovers import (
    SHARED_MEMORY,
    engine_processes,
    files_left,
    held_bytes,
    orphans,
    roles,
    unused_shared_memory,
)
from tests.rig.processes import Vedette

READY_S = 300.0
STEADY_S = 12.0
"""vedette counts an engine as steady after 10."""
MOST_IN_A_ROW = 5


@dataclass
class Run:
    """State shared by the parallel vedettes."""

    options: Any
    until: float
    """time.monotonic() after which nothing is killed."""
    kills: list[dict[str, Any]] = field(default_factory=list)
    replies: list[clients.Reply] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Processes and temporary files of vedettes that were stopped."""
    engine: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def goes_on(self) -> bool:
        return len(self.kills) < self.options.kills and time.monotonic() < self.until


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4, help="clients of each vedette")
    parser.add_argument("--spread", type=float, default=60.0, help="seconds; twice what a start takes is about right")
    parser.add_argument("--seconds", type=float, default=36_000, help="seconds after which the bench ends and reports")
    options = parser.parse_args()
    began = time.monotonic()
    run = Run(options, began + options.seconds - 100)  # after the last kill there must be service again
    shared = set(SHARED_MEMORY.iterdir())
    threads = [threading.Thread(target=keep_killing, args=(run, number)) for number in range(options.parallel)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        threads[0].join(20) if threads[0].is_alive() else time.sleep(5)
        publish(run, [], (time.monotonic() - began) / 60)
    leaked = [path.name for path in unused_shared_memory(shared)]
    publish(run, leaked, (time.monotonic() - began) / 60)


def keep_killing(run: Run, number: int) -> None:
    """Runs one vedette and starts it again if it ends."""
    rng = random.Random(run.options.seed * 1000 + number)
    questions = clients.tiny_questions("vedette-tiny", run.options.seed * 1000 + number, 28)
    while run.goes_on():
        home = harness.make_home(run.options.scratch / f"kills-{number}-{time.time_ns()}", run.options.home)
        with harness.running(home, "vedette-tiny", environment=harness.environment(run.options)) as vedette:
            if vedette.ready(READY_S) is None:
                raise SystemExit(f"vedette-tiny does not serve: {vedette.events[-1:]} {vedette.stderr_text}")
            run.engine = harness.engine_version(vedette)
            with clients.Load(vedette.port, clients.answerable(vedette.port, questions), run.options.clients) as load:
                _kill_again_and_again(run, vedette, load, rng)
            run.replies.extend(load.replies)
            ended = vedette.process.poll() is not None
        run.left += [process.name() for process in engine_processes(home)] + files_left(home)
        if not ended:  # keep the logs of a failure
            shutil.rmtree(home)


def _kill_again_and_again(run: Run, vedette: Vedette, load: clients.Load, rng: random.Random) -> None:
    """Kills until there are enough kills or vedette has ended; waits for service after the last kill."""
    in_a_row, kill = 0, None
    while run.goes_on() and vedette.process.poll() is None:
        if not _wait_for_moment(vedette, kill, rng.uniform(0, run.options.spread), in_a_row):
            break
        victims = roles(vedette)
        ready = _ready_since(vedette, kill)
        if not victims:
            continue  # it crashed by itself or is between two starts: choose another moment
        role = rng.choice(sorted(victims))
        states = [event for event in vedette.events if event["event"] in ("status", "ready")]
        served_s = time.monotonic() - ready["at"] if ready else 0.0
        in_a_row = 1 if served_s >= STEADY_S else in_a_row + 1
        if kill is not None:
            _note_return(kill, vedette, load)
        held_mib = (
            held_bytes(vedette)[0] // harness.MIB
        )  # looking takes long enough for requests to be answered meanwhile
        kill = {
            "vedette": vedette.process.pid,
            "at": time.monotonic(),
            "victim": role,
            "phase": states[-1].get("phase") or states[-1].get("state", "ready"),
            "served_s": round(served_s, 1),
            "in_a_row": in_a_row,
            "held_mib": held_mib,
        }
        with contextlib.suppress(psutil.Error):
            victims[role].send_signal(signal.SIGKILL)
        with run.lock:
            run.kills.append(kill)
        print(json.dumps(kill), flush=True)
    if kill is not None:
        vedette.ready(READY_S, after=kill["at"])
        load.first_right(kill["at"], 60)
        _note_return(kill, vedette, load)


def _ready_since(vedette: Vedette, kill: dict[str, Any] | None) -> dict[str, Any] | None:
    ready = [event for event in vedette.events if event["event"] == "ready" and (not kill or event["at"] > kill["at"])]
    return ready[-1] if ready else None


def _wait_for_moment(vedette: Vedette, kill: dict[str, Any] | None, delay_s: float, in_a_row: int) -> bool:
    """Waits until the next kill is due; False if vedette ended meanwhile, or never started again."""
    if kill is None:
        time.sleep(delay_s)
        return vedette.process.poll() is None
    started = vedette.first(lambda event: event.get("state") == "starting", READY_S, after=kill["at"])
    if started is None:
        return False
    due = started["at"] + delay_s
    if in_a_row >= MOST_IN_A_ROW:
        ready = vedette.ready(READY_S, after=kill["at"])
        if ready is None:
            return False
        due = max(due, ready["at"] + STEADY_S)
    while time.monotonic() < due and vedette.process.poll() is None:
        time.sleep(0.2)
    return vedette.process.poll() is None


def _note_return(kill: dict[str, Any], vedette: Vedette, load: clients.Load) -> None:
    """Adds to a kill when its vedette was ready and when the first right answer came; None for what did not happen
    before the next kill."""
    ready = _ready_since(vedette, kill)
    first = next((one for one in list(load.replies) if one.at > kill["at"] and one.outcome == "right"), None)
    kill["ready_s"] = round(ready["at"] - kill["at"], 1) if ready else None
    kill["answer_s"] = round(first.at + first.took_s - kill["at"], 1) if first else None
    causes = [
        event["cause"]["code"]
        for event in vedette.events
        if event.get("state") == "failed" and event["at"] > kill["at"]
    ]
    kill["causes"] = list(dict.fromkeys(causes))
    kill["orphans"] = orphans(vedette) if ready else []
    kill["ended"] = None if vedette.process.poll() is None else _last_words(vedette)


def _last_words(vedette: Vedette) -> str:
    errors = [event["sentence"] for event in vedette.events if event["event"] == "error"]
    return f"status {vedette.process.returncode}: {errors or vedette.stderr_text[-500:]}"


def publish(run: Run, leaked: list[str], minutes: float) -> None:
    """Publishes the report of all records so far."""
    kills = [kill for kill in run.kills if "ready_s" in kill]
    last = [kill for kill in kills if kill["answer_s"] is not None]
    episodes = _episodes(kills)
    ended = sorted({kill["ended"] for kill in kills if kill["ended"]})
    counts = clients.outcomes(run.replies)
    options = run.options
    lines = [
        *harness.heading("Kills of the engine under load", run.engine or "no engine"),
        f"{len(kills)} SIGKILLs by {options.parallel} vedettes at once with {options.clients} clients each, in "
        f"{minutes:.0f} minutes. Moments are drawn evenly from the first {options.spread:.0f} s after the engine last "
        f"began to start; after {MOST_IN_A_ROW} in a row without {STEADY_S:.0f} s of service the next waits for it.",
        "",
        *harness.rows(
            ("", ""),
            [
                ("killed while it served", sum(kill["served_s"] > 0 for kill in kills)),
                ("killed while it started", sum(kill["served_s"] == 0 for kill in kills)),
                ("outages (kills with no right answer between them are one)", len(episodes)),
                ("ended in service again", sum(end is not None for _, end in episodes)),
                (
                    "from the first kill of an outage to a right answer",
                    harness.spread([end for _, end in episodes if end]),
                ),
                (
                    "from the last kill of an outage to a right answer",
                    harness.spread([kill["answer_s"] for kill in last]),
                ),
                ("vedettes that ended by themselves", f"{len(ended)} {'; '.join(ended)}".strip()),
                ("orphans", sum(len(kill["orphans"]) for kill in kills)),
                ("shared memory left", len(leaked)),
                ("processes and temporary files left", len(run.left)),
                ("vedette's own memory, most", f"{max((kill['held_mib'] for kill in kills), default=0)} MiB"),
                ("requests", sum(counts.values())),
                *((f"… {outcome}", count) for outcome, count in counts.items()),
                ("longest request", f"{max((reply.took_s for reply in run.replies), default=0):.1f} s"),
            ],
        ),
        "",
        *harness.rows(("victim", "while", "kills", "then a right answer after"), list(_by_victim(kills))),
    ]
    odd = [clients.as_json(reply) for reply in run.replies if reply.outcome not in ("right", "refused", "broken off")]
    harness.publish(options, "kills", lines, [*kills, *odd, {"left": run.left, "leaked": leaked}])


def _episodes(kills: list[dict[str, Any]]) -> list[tuple[dict[str, Any], float | None]]:
    """For each outage its first kill, and the seconds from there to a right answer; None if none came."""
    found: list[tuple[dict[str, Any], float | None]] = []
    for vedette in dict.fromkeys(kill["vedette"] for kill in kills):
        first = None
        for kill in (one for one in kills if one["vedette"] == vedette):
            first = first or kill
            if kill["answer_s"] is not None:
                found.append((first, kill["at"] + kill["answer_s"] - first["at"]))
                first = None
        if first is not None:
            found.append((first, None))
    return found


def _by_victim(kills: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    for victim in ("server", "core"):
        for what, serving in (("serving", True), ("starting", False)):
            these = [one for one in kills if one["victim"] == victim and (one["served_s"] > 0) is serving]
            yield (
                victim,
                what,
                len(these),
                harness.spread([one["answer_s"] for one in these if one["answer_s"] is not None]),
            )


if __name__ == "__main__":
    main()
