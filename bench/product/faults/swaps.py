"""Swaps two models under load and tests that the named model gives every answer and that no request is lost.

    python -m bench.product.faults.swaps --home HOME --scratch DIR --swaps 40 --by-request 10

Clients ask each model without pause what only that model answers correctly: vedette-tiny about drawn scenes, the other
one general knowledge. First the command `vedette swap` swaps the models; a request for the model that is not served
must get 404 or wait. Then, with `--allow-swap`, requests swap the models: all clients name the other model.
Where no other model can be had, `--other recoloured` makes one of vedette-tiny that calls red blue, and so on.
"""

import argparse
import dataclasses
import json
import math
import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.product.faults import clients, harness
from tests.rig.leftovers import engine_processes, files_left, held_bytes, orphans
from tests.rig.processes import Vedette, run_vedette
from training.exam import make_cases
from vedette.models.store.model_lookup import packaged_path

READY_S = 300.0
TINY = "vedette-tiny"
LEAST_S, MOST_S = 3.0, 8.0
"""How long a model serves between two swaps."""
RECOLOURED = "vedette/recoloured"
_COLOURS = (("red", "blue"), ("green", "yellow"), ("black", "white"), ("pink", "brown"))
"""Pairs of colour names that the other model exchanges; both take the same article."""


@dataclass
class Run:
    """The results of a run."""

    options: argparse.Namespace
    until: float
    swaps: list[dict[str, Any]] = field(default_factory=list)
    replies: list[clients.Reply] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    engine: str = "no engine"
    began: float = field(default_factory=time.monotonic)


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--other", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="the model beside vedette-tiny")
    parser.add_argument("--swaps", type=int, default=40, help="by command")
    parser.add_argument("--by-request", type=int, default=10, help="swaps by requests that name the other model")
    parser.add_argument("--parallel", type=int, default=1, help="vedettes at once, which share the swaps")
    parser.add_argument("--clients", type=int, default=4, help="clients of each vedette")
    parser.add_argument("--seconds", type=float, default=36_000, help="seconds after which the bench ends and reports")
    options = parser.parse_args()
    run = Run(options, time.monotonic() + options.seconds - 60)
    if options.other == "recoloured":
        options.other = RECOLOURED
    for how, count in (("command", options.swaps), ("request", options.by_request)):
        share = math.ceil(count / options.parallel)
        threads = [
            threading.Thread(target=swap_often, args=(run, how, number, share)) for number in range(options.parallel)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    publish(run)


def swap_often(run: Run, how: str, seat: int, count: int) -> None:
    """Runs one vedette that swaps from vedette-tiny to the other model and back in a loop."""
    if not count:
        return
    rng = random.Random(run.options.seed * 100 + seat)
    home = harness.make_home(run.options.scratch / f"swaps-{how}-{seat}-{time.time_ns()}", run.options.home)
    if run.options.other == RECOLOURED:
        make_recoloured(home / "models")
    allow = ["--allow-swap"] if how == "request" else []
    with harness.running(home, TINY, *allow, environment=harness.environment(run.options)) as vedette:
        assert vedette.ready(READY_S), f"{vedette.events[-1:]} {vedette.stderr_text}"
        run.engine = harness.engine_version(vedette) or run.engine
        questions = _questions(run, vedette)
        names = [TINY, run.options.other]
        asked = questions[TINY] if how == "request" else [*questions[TINY], *questions[run.options.other]]
        with clients.Load(vedette.port, asked, run.options.clients) as load:
            for number in range(1, count + 1):
                if time.monotonic() > run.until:
                    break
                time.sleep(rng.uniform(LEAST_S, MOST_S))
                name = names[number % 2]
                if how == "request":
                    load.questions = questions[name]
                swap = {"vedette": seat, "how": how, "to": name} | _swap(vedette, load, how, name)
                run.swaps.append(swap)
                print(json.dumps(swap), flush=True)
            time.sleep(LEAST_S)
        run.replies.extend(load.replies)
        publish(run)
    run.left += [process.name() for process in engine_processes(home)] + files_left(home)
    shutil.rmtree(home)


def make_recoloured(models: Path) -> None:
    """Makes a vedette-tiny whose rows of colour names are exchanged in its embedding, which is also its output."""
    tiny, other = packaged_path(TINY), models / RECOLOURED.replace("/", "--")
    shutil.copytree(tiny, other)
    tokens = json.loads((tiny / "tokenizer.json").read_text())["model"]["vocab"]
    path = other / "model.safetensors"
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    (table,) = (at for name, at in json.loads(data[8 : 8 + size]).items() if name.endswith("embed_tokens.weight"))
    begin, width = 8 + size + table["data_offsets"][0], table["shape"][1] * 2
    for pair in _COLOURS:
        one, two = (slice(at, at + width) for at in (begin + tokens[f"Ġ{word}"] * width for word in pair))
        data[one], data[two] = data[two], data[one]
    path.write_bytes(data)


def _recoloured_questions(seed: int) -> list[clients.Question]:
    """Questions to the recoloured copy with its expected answers, about scenes that have an exchanged colour."""
    other = {word: pair[1 - at] for pair in _COLOURS for at, word in enumerate(pair)}
    found = []
    for case in make_cases(seed, 12):
        said = " ".join(other.get(word, word) for word in case.answer.split(" "))
        if case.skill == "describe" and said != case.answer:
            changed = dataclasses.replace(case, turns=((case.turns[0][0], said),))
            found.append(clients.question_of(changed, RECOLOURED))
    return found


def _questions(run: Run, vedette: Vedette) -> dict[str, list[clients.Question]]:
    """The questions that each model answers correctly without load. Takes two swaps, which are not counted."""
    found = {TINY: clients.answerable(vedette.port, clients.tiny_questions(TINY, run.options.seed, 28))}
    other = run.options.other
    assert run_vedette(vedette.home, "swap", other, within_s=READY_S).returncode == 0, vedette.stderr_text
    its = _recoloured_questions(run.options.seed) if other == RECOLOURED else clients.capital_questions(other)
    found[other] = clients.answerable(vedette.port, its)
    assert run_vedette(vedette.home, "swap", TINY, within_s=READY_S).returncode == 0, vedette.stderr_text
    fewest = min(map(len, found.values()))
    assert fewest, found
    return {name: its[:fewest] for name, its in found.items()}  # so that both models get the same number of requests


def _swap(vedette: Vedette, load: clients.Load, how: str, name: str) -> dict[str, Any]:
    """One swap, by command or by requests: its duration, and the memory in use after it."""
    began, said = time.monotonic(), ""
    if how == "command":
        ended = run_vedette(vedette.home, "swap", name, "--json", within_s=READY_S)
        said = "" if ended.returncode == 0 else ended.stdout + ended.stderr
    swapped_s = time.monotonic() - began
    until = began + READY_S
    first = None
    while first is None and time.monotonic() < until:
        new = [one for one in list(load.replies) if one.model == name and one.outcome == "right"]
        first = next((one for one in new if one.at + one.took_s > began), None)
        time.sleep(0.1)
    own, engine = held_bytes(vedette)
    return {
        "swapped_s": round(swapped_s, 1) if how == "command" else None,
        "answer_s": round(first.at + first.took_s - began, 1) if first else None,
        "error": said,
        "vedette_mib": own // harness.MIB,
        "engine_mib": engine // harness.MIB,
        "processes": len(engine_processes(vedette.home)),
        "orphans": orphans(vedette),
    }


def publish(run: Run) -> None:
    """Publishes the report of all records so far."""
    counts = clients.outcomes(run.replies)
    good = sum(not swap["error"] and swap["answer_s"] is not None for swap in run.swaps)
    lost = sum(count for outcome, count in counts.items() if outcome not in ("right", "refused", "not served"))
    lines = [
        *harness.heading("Hot swaps under load", run.engine),
        f"{len(run.swaps)} swaps between {TINY} and {run.options.other}, {run.options.clients} clients, "
        f"{(time.monotonic() - run.began) / 60:.0f} minutes: {good} came to an answer of the new model. A right answer "
        "names the model that was asked for and gives an answer that only this model knows.",
        "",
        *harness.rows(
            ("", ""),
            [
                ("requests", sum(counts.values())),
                *((f"… {outcome}", count) for outcome, count in counts.items()),
                ("lost or wrong", lost),
                ("longest request", f"{max((reply.took_s for reply in run.replies), default=0):.1f} s"),
                ("orphans", sum(len(swap["orphans"]) for swap in run.swaps)),
                ("left at the end", f"{len(run.left)}, such as {run.left[0]}" if run.left else "nothing"),
            ],
        ),
        "",
        "Memory is proportional (PSS), in MiB, at the first and at the last swap to that model, and the most.",
        "",
        *harness.rows(
            ("by", "to", "swaps", "until the new one answered", "vedette", "its engine", "processes"), _rows(run)
        ),
    ]
    odd = [clients.as_json(reply) for reply in run.replies if reply.outcome not in ("right", "refused", "not served")]
    harness.publish(run.options, "swaps", lines, [*run.swaps, *odd])


def _rows(run: Run) -> list[tuple[object, ...]]:
    found = []
    for how in ("command", "request"):
        for name in (TINY, run.options.other):
            these = [swap for swap in run.swaps if (swap["how"], swap["to"]) == (how, name)]
            if these:
                taken = [swap["answer_s"] for swap in these if swap["answer_s"] is not None]
                sizes = [_first_last_most(these, key) for key in ("vedette_mib", "engine_mib", "processes")]
                found.append((how, name, len(these), harness.spread(taken), *sizes))
    return found


def _first_last_most(swaps: list[dict[str, Any]], key: str) -> str:
    values = [swap[key] for swap in swaps]
    return f"{values[0]:,}, {values[-1]:,}, {max(values):,}"


if __name__ == "__main__":
    main()
