"""Starts `vedette up` in forty memory budgets from 1.5 to 12 GiB: it must serve, or refuse with the right figure.

    python -m bench.product.faults.budgets --home HOME vedette-tiny SmolLM2-135M-Instruct google/gemma-3-270m

Each start is a fresh home in a memory cgroup of its own (version 1; needs root) that holds vedette, its engine and the
files that they read. A model that is refused at the least budget is tried closer around the budget that the refusal
names. Who serves is asked requests that fill the context; who refuses says how much is missing, and is believed when
a start with that much more serves.
"""

import base64
import io
import json
import math
import random
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

from bench.lab.in_cgroup import forget_files
from bench.product.faults import harness
from bench.product.faults.harness import MIB
from tests.rig.cgroup import Cgroup
from tests.rig.leftovers import engine_processes, held_bytes
from tests.rig.processes import Vedette

WHOLE_MIB = (1536, 2048, 3072, 4096, 6144, 8192, 10240, 12288)
AROUND_EDGE_MIB = (-24, -8, 2, 16, 48, 96, 160, 320)
READY_S = 400.0
"""Ten times the duration of a start with enough memory."""
ANSWER_S = 240.0
ANSWER_TOKENS = 32
"""Answer tokens of a full request: few, because a prompt is faster than an answer and takes as much memory."""
NEAR_MIB = 512
"""Plans that leave less than this free get all planned requests at once; others get one, to save time."""


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--only-mib", type=int, nargs="+", help="budgets in MiB to try instead")
    options = parser.parse_args()
    records = _earlier(options)
    engine = "no engine"
    for model in options.models:
        budgets = list(options.only_mib or WHOLE_MIB)
        for number, budget_mib in enumerate(budgets):
            record = next((one for one in records if (one["model"], one["budget_mib"]) == (model, budget_mib)), None)
            if record is None:
                record, found = try_budget(options, model, budget_mib)
                engine = found or engine
                if record["missing_mib"] is not None:
                    proof, _ = try_budget(options, model, budget_mib + record["missing_mib"])
                    record["proof"] = proof
                records.append(record)
                print(json.dumps(record), flush=True)
                publish(options, engine, records)
            if number == 0 and record["missing_mib"] is not None and not options.only_mib:
                budgets += [budget_mib + record["missing_mib"] + step for step in AROUND_EDGE_MIB]


def _earlier(options: Any) -> list[dict[str, Any]]:
    path = options.out / "budgets.jsonl" if options.out else None
    return [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []


def try_budget(options: Any, model: str, budget_mib: int) -> tuple[dict[str, Any], str | None]:
    """One start in a cgroup: its record, and the engine's version."""
    forget_files(*{path.resolve() for path in _read_by_engine(options.home)})
    home = harness.make_home(
        options.scratch / f"{model.replace('/', '--')}-{budget_mib}-{time.time_ns()}", options.home
    )
    cgroup, began = Cgroup(budget_mib * MIB), time.monotonic()
    record: dict[str, Any] = {
        "model": model,
        "budget_mib": budget_mib,
        "vedette": harness.commit(),
        "missing_mib": None,
    }
    try:
        with (
            harness.running(home, model, cgroup=cgroup, environment=harness.environment(options)) as vedette,
            PeakReader(cgroup),
        ):
            end = vedette.first(lambda event: event["event"] in ("ready", "error"), READY_S)
            record["took_s"] = round(time.monotonic() - began, 1)
            record |= _refused(end) if end and end["event"] == "error" else _served(vedette, end)
            record |= _life(vedette, cgroup)
            engine = harness.engine_version(vedette)
        record["left"] = [process.pid for process in engine_processes(home)]
    finally:
        cgroup.remove()
    shutil.rmtree(home)
    return record, engine


def _read_by_engine(home: Path) -> list[Path]:
    pythons = list((home / "engines").glob("*/bin/python"))
    return [home / "engines", home / "models", *(python.resolve().parent.parent for python in pythons)]


class PeakReader:
    """Reads a cgroup's memory several times a second, so that the cgroup knows its peak."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup, self._ending = cgroup, threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        while not self._ending.wait(0.2):
            self._cgroup.look()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


def _refused(error: dict[str, Any]) -> dict[str, Any]:
    figure = re.search(r"needs (?:less than )?([\d.]+) ([GM])iB more", error["sentence"])
    if error["code"] != "does_not_fit" or figure is None:
        return {"outcome": "failed", "sentence": error["sentence"]}
    missing_mib = math.ceil(float(figure[1]) * (1024 if figure[2] == "G" else 1))
    return {"outcome": "refused", "sentence": error["sentence"], "missing_mib": missing_mib}


def _served(vedette: Vedette, ready: dict[str, Any] | None) -> dict[str, Any]:
    if ready is None:
        ended = vedette.process.poll()
        how = f"ended with {ended} and no message" if ended is not None else f"not ready after {READY_S:.0f} s"
        log = vedette.home / "run" / "engine.log"
        said = log.read_text(errors="replace")[-1500:] if log.exists() else ""
        return {
            "outcome": how,
            "sentence": vedette.stderr_text[-1000:],
            "last": vedette.events[-1:],
            "engine_said": said,
        }
    plan = [event["plan"] for event in vedette.events if event["event"] == "plan"][-1]
    context, free = plan["context"], plan["memory"]["available_bytes"] - plan["memory"]["total_bytes"]
    count = context["concurrency"] if free < NEAR_MIB * MIB else 1
    began = time.monotonic()
    usages = full_requests(vedette.port, plan["model"], context, count)
    answered = [usage for usage in usages if usage.get("completion_tokens")]
    return {
        "outcome": "served" if len(answered) == count else "ready, not answered",
        "sentence": "" if len(answered) == count else str(usages),
        "plan": f"{context['concurrency']} × {context['max_model_len']}",
        "planned_mib": plan["memory"]["total_bytes"] // MIB,
        "requests": count,
        "tokens": [usage.get("total_tokens") for usage in usages],
        "answered_s": round(time.monotonic() - began, 1),
    }


def _life(vedette: Vedette, cgroup: Cgroup) -> dict[str, Any]:
    own, others = held_bytes(vedette)
    deaths = [event["cause"]["code"] for event in vedette.events if event.get("state") == "failed"]
    return {
        "kills": cgroup.killed,
        "deaths": deaths,
        "anonymous_mib": cgroup.most.get("anonymous", 0) // MIB,
        "vedette_mib": own // MIB,
        "engine_mib": others // MIB,
        "failed_charges": int((cgroup.path / "memory.failcnt").read_text()),
        "notes": [event["sentence"] for event in vedette.events if event["event"] == "note"],
        "traceback": "Traceback" in vedette.stderr_text,
    }


def full_requests(port: int, model: str, context: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Sends `count` requests at once that fill the context by the engine's own count; returns usages or errors."""
    pictures = [_picture(context["image_max_pixels"]) for _ in range(context["images_per_request"])]

    def body(words: int, most: int) -> dict[str, Any]:
        text = {"type": "text", "text": "red circle left of the blue square " * words}
        messages = [{"role": "user", "content": [*pictures, text]}]
        return {"model": model, "messages": messages, "max_tokens": most, "ignore_eos": True, "temperature": 0}

    one, three = (_usage(port, body(words, 1)).get("prompt_tokens") for words in (1, 3))
    if one is None or three is None:
        return [{"error": "a short request was not answered"}]
    room = context["max_model_len"] - ANSWER_TOKENS
    request = body(max(1, 1 + int((room - one) / ((three - one) / 2))), ANSWER_TOKENS)
    usages: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: usages.append(_usage(port, request))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return usages


def _picture(pixels: int) -> dict[str, Any]:
    side, data = int(pixels**0.5), io.BytesIO()
    Image.frombytes("RGB", (side, side), random.randbytes(side * side * 3)).save(data, "JPEG")
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"},
    }


def _usage(port: int, body: dict[str, Any]) -> dict[str, Any]:
    address = f"http://127.0.0.1:{port}/v1/chat/completions"
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            usage: dict[str, Any] = json.load(answer)["usage"]
            return usage
    except (OSError, ValueError) as error:
        said = error.read().decode(errors="replace")[:300] if isinstance(error, urllib.error.HTTPError) else ""
        return {"error": f"{error!r} {said}"}


def publish(options: Any, engine: str, records: list[dict[str, Any]]) -> None:
    """Publishes the report of all records so far."""
    right = sum(map(is_right, records))
    served = sum(record["outcome"] == "served" for record in records)
    refused = sum(record["outcome"] == "refused" for record in records)
    commits = ", ".join(dict.fromkeys(record["vedette"] for record in records))
    lines = [
        *harness.heading("Memory budgets", engine),
        f"{len(records)} budgets, each in a memory cgroup that holds vedette, its engine and their files: {served} "
        f"served, {refused} were refused, {len(records) - served - refused} ended otherwise. {right} as expected: "
        f"a full request answered (as many at once as planned, near the edge), or refused and, with as much more as "
        f"the refusal asks for, served. {sum(record['kills'] for record in records)} kills by the kernel. "
        f"vedette at {commits}. Sizes in MiB; memory is the most anonymous memory in the cgroup.",
        "",
    ]
    head = ("model", "budget", "end", "after", "plan", "requests", "memory", "kills", "with the missing memory")
    ordered = sorted(records, key=lambda record: (options.models.index(record["model"]), record["budget_mib"]))
    harness.publish(options, "budgets", [*lines, *harness.rows(head, [_row(record) for record in ordered])], records)


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    proof = record.get("proof")
    return (
        record["model"],
        f"{record['budget_mib']:,}",
        record["outcome"],
        f"{record['took_s']:.0f} s",
        record.get("plan", ""),
        f"{record['requests']} in {record['answered_s']:.0f} s" if "requests" in record else "",
        f"{record['anonymous_mib']:,}",
        record["kills"],
        f"{record['missing_mib']} more: {proof['outcome']} {proof.get('plan', '')}" if proof else "",
    )


def is_right(record: dict[str, Any]) -> bool:
    proof = record.get("proof")
    good = record["outcome"] == "served" or (proof is not None and proof["outcome"] == "served")
    return good and not record["left"] and not record["traceback"]


if __name__ == "__main__":
    main()
