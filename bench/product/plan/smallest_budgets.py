"""Tests whether plans fit exactly where memory suffices, with real weights in memory cgroups, on a CPU.

    python -m bench.product.plan.smallest_budgets ENGINE_PYTHON MODEL_DIRECTORY... --out OUT

For every model it looks, by planning alone, for the least budget that the plan calls enough and for each larger one
at which the plan changes, up to 12 GiB. Then it starts the engine: at the edge and at budgets above it, each in a
cgroup of exactly the budget, with as many requests at once as the plan allows, each filling its context; and, in a
cgroup a little smaller than the edge, on the least plan there is, which should fail. A start at the least budget of
a plan stands for all larger budgets with the same plan. Writes OUT.json and OUT.md. Needs root and cgroups, version 1.
"""

import argparse
import dataclasses
import json
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.lab.in_cgroup import Seen, machine_with, planned_parts, run_plan
from vedette.models.checkpoint import read_model
from vedette.models.model import Model
from vedette.plan.make import make_plan
from vedette.plan.plan import EngineSettings, Plan, Wish

MIB = 1024**2
GIB_MIB = 1024
LEAST_MIB = 256
MOST_MIB = 12 * GIB_MIB
WHOLE_BUDGETS_MIB = range(2 * GIB_MIB, MOST_MIB + 1, GIB_MIB)


@dataclass(frozen=True)
class Start:
    """One start of the engine: a plan made for one budget, in a cgroup of that budget."""

    model: str
    budget_mib: int
    plan: Plan

    @property
    def what(self) -> str:
        context = self.plan.context
        pictures = f", {context.images_per_request} × {context.image_max_pixels} px" if context.image_max_pixels else ""
        returned = ", memory returned" if self.plan.settings.returns_memory else ""
        return f"{context.concurrency} × {context.max_model_len} tokens{pictures}{returned}"


def plan_for(model: Model, budget_mib: int) -> Plan:
    """The plan for this machine with no more memory than the budget; the least plan there is, if none fits."""
    return make_plan(machine_with(budget_mib), model, Wish())


def find_edge(model: Model) -> int | None:
    """The least budget in MiB that the plan calls enough; None if 12 GiB are not."""
    if not plan_for(model, MOST_MIB).fits:
        return None
    return _least(LEAST_MIB, MOST_MIB, lambda budget: plan_for(model, budget).fits)


def find_changes(model: Model, edge_mib: int) -> list[int]:
    """The edge and every larger budget at which the engine would be started otherwise."""
    changes = [edge_mib]
    while (settings := plan_for(model, changes[-1]).settings) != plan_for(model, MOST_MIB).settings:
        changes.append(_least(changes[-1], MOST_MIB, partial(_differs, model, settings)))
    return changes


def _differs(model: Model, settings: EngineSettings, budget_mib: int) -> bool:
    return plan_for(model, budget_mib).settings != settings


def _least(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The least budget above `low` for which `holds` is true; it is false for `low` and true for `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def choose_starts(changes: list[int], count: int) -> list[int]:
    """Which of `changes` to start: those that stand for a whole budget, the edge, the last, and evenly more up to
    `count`."""
    chosen = {changes[0], changes[-1]}
    chosen |= {
        max(change for change in changes if change <= whole) for whole in WHOLE_BUDGETS_MIB if whole >= changes[0]
    }
    for parts in range(2, len(changes)):
        for part in range(1, parts):
            if len(chosen) >= count:
                return sorted(chosen)
            chosen.add(changes[part * (len(changes) - 1) // parts])
    return sorted(chosen)


def record(start: Start, seen: Seen) -> dict[str, Any]:
    planned = planned_parts(start.plan)
    peak = seen.anonymous_bytes // MIB
    good = seen.outcome == "answered"
    return {
        "model": start.model,
        "budget_mib": start.budget_mib,
        "said": "fits" if start.plan.fits else "does not fit",
        "plan": start.what,
        "planned_mib": sum(planned.values()),
        "planned_parts_mib": planned,
        "seen_anonymous_mib": peak,
        "seen_mapped_mib": seen.mapped_bytes // MIB,
        "ready_s": seen.ready_s and round(seen.ready_s, 1),
        "load_s": seen.load_s and round(seen.load_s, 1),
        "requests": len(seen.usages),
        "tokens": sum(usage.get("total_tokens", 0) for usage in seen.usages),
        "outcome": seen.outcome,
        "right": good == start.plan.fits,
        "log_tail": seen.log_tail[-1500:] if good != start.plan.fits else "",
    }


def covered(model: Model, name: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each whole budget from 2 to 12 GiB: the plan, and the start that tests it."""
    found = []
    for budget in WHOLE_BUDGETS_MIB:
        plan = plan_for(model, budget)
        proof = None
        for one in records:
            same = one["model"] == name and one["said"] == ("fits" if plan.fits else "does not fit")
            if same and one["right"] and plan.fits and one["budget_mib"] <= budget:
                proof = one["budget_mib"] if plan_for(model, one["budget_mib"]).settings == plan.settings else proof
            if same and one["right"] and not plan.fits and one["budget_mib"] >= budget:
                proof = one["budget_mib"]
        what = Start(name, budget, plan).what if plan.fits else "does not fit"
        found.append({"model": name, "budget_mib": budget, "plan": what, "proved_by_start_at_mib": proof})
    return found


def machine(engine_python: Path) -> dict[str, Any]:
    """The machine's facts for the report."""
    script = "import vllm, torch; print(vllm.__version__, torch.__version__)"
    versions = subprocess.run([engine_python, "-c", script], capture_output=True, text=True, check=True)
    vllm, torch = versions.stdout.split()[-2:]
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "unknown"),
        "cores": sum(line.startswith("processor") for line in cpuinfo),
        "memory_mib": machine_with(None).memory_total_bytes // MIB,
        "kernel": platform.release(),
        "vllm": vllm,
        "torch": torch,
    }


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    host = results["machine"]
    right = sum(one["right"] for one in results["starts"])
    lines = [
        "# Budgets on a CPU, planned and tried",
        "",
        f"{results['date']}, {host['cores']} cores of {host['cpu']}, {host['memory_mib'] / 1024:.0f} GiB, no GPU, "
        f"Linux {host['kernel']}, vLLM {host['vllm']}, torch {host['torch']}; each start once, in "
        f"{results['minutes']:.0f} minutes together. {right} of {len(results['starts'])} as the plan said.",
        "",
        f"    {results['command']}",
        "",
        "Every start is in a memory cgroup of exactly the budget: the engine's processes and the files they read. "
        "Below an edge the engine is started all the same, on the least plan there is. Where little is left, what is "
        "freed goes back to the system at once (memory returned). Sizes in MiB.",
        "",
        "| model | budget | plan says | plan | planned | anonymous, most | ready after | outcome | as said |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results["starts"]:
        ready = f"{one['ready_s']:.0f} s" if one["ready_s"] else "–"
        outcome = f"all {one['requests']} answered" if one["outcome"] == "answered" else one["outcome"]
        lines.append(
            f"| {one['model']} | {one['budget_mib']:,} | {one['said']} | {one['plan']} | {one['planned_mib']:,} | "
            f"{one['seen_anonymous_mib']:,} | {ready} | {outcome} | {'yes' if one['right'] else '**no**'} |"
        )
    lines += ["", "The whole budgets, and the start that stands for each:", ""]
    names = list(dict.fromkeys(one["model"] for one in results["whole_budgets"]))
    lines += ["| GiB | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for budget in WHOLE_BUDGETS_MIB:
        cells = []
        for one in results["whole_budgets"]:
            if one["budget_mib"] == budget:
                proof = one["proved_by_start_at_mib"]
                cells.append(f"{one['plan']} ({f'start at {proof:,}' if proof else '**not tried**'})")
        lines.append(f"| {budget // GIB_MIB} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that SIGTERM stops the engine too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path, help="the engine environment's interpreter")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="where to write, without .json and .md")
    parser.add_argument("--starts", type=int, default=5, help="how many of each model's plans to start at least")
    parser.add_argument("--below-mib", type=int, default=96, help="MiB below the edge at which a start should fail")
    parser.add_argument("--only-plan", action="store_true", help="show the budgets that would be tried")
    options = parser.parse_args()
    began = time.monotonic()
    records: list[dict[str, Any]] = []
    whole: list[dict[str, Any]] = []
    results: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(options.python.absolute()),
        "starts": records,
        "whole_budgets": whole,
    }
    for path in options.models:
        model, name = read_model(path.absolute()), path.absolute().name.rpartition("--")[2]
        edge = find_edge(model)
        if edge is None:
            raise SystemExit(f"{name} does not fit into {MOST_MIB} MiB.")
        changes = find_changes(model, edge)
        print(f"{name}: fits from {edge} MiB on; the plan changes at {changes}", flush=True)
        for budget in [edge - options.below_mib, *choose_starts(changes, options.starts)]:
            start = Start(name, budget, plan_for(model, budget))
            print(f"  {budget} MiB, {start.what}: planned {planned_parts(start.plan)}", flush=True)
            if options.only_plan:
                continue
            seen = run_plan(start.plan, path.absolute(), options.python.absolute(), budget)
            records.append(record(start, seen))
            shown = dataclasses.asdict(seen) | {"log_tail": ""}
            print(f"    {'as said' if records[-1]['right'] else 'NOT as said'}: {json.dumps(shown)}", flush=True)
        whole += covered(model, name, records)
        results["minutes"] = (time.monotonic() - began) / 60
        if not options.only_plan:
            options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
            options.out.with_suffix(".md").write_text(table(results))


if __name__ == "__main__":
    main()
