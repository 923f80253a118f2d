"""Measures the time to serve again after the engine was killed, with and without a standby, and a standby's memory.

    python -m bench.product.startup.restart --engine DIRECTORY [--model DIRECTORY] [--rounds N] [--seconds N]
        [--only WAY,…]

--engine: an environment with vLLM, or its interpreter. Ways: vllm (a new process, as vLLM starts by itself), new (a
new process as vedette starts it; the same thing on a GPU), standby. The ways alternate, so that other work on the
machine affects all of them. Each round kills one process of the engine while it serves (its server and its core in
turn) and counts from the kill until a request with a picture is answered; planning and the pause before a restart are
not in it. The table comes last; what is measured until --seconds are over is in it.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from vedette.device.device import Family
from vedette.device.probe import read_device
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine
from vedette.engine.hosts.adopted import adopt
from vedette.engine.process.process_command import Command
from vedette.engine.process.standby import Standby
from vedette.engine.process.workplace import end_processes, find_processes, make_workplace
from vedette.engine.state import Life, Phase, State
from vedette.engine.vllm.flags import Target, engine_traits
from vedette.models.checkpoint import read_model
from vedette.models.store.model_lookup import packaged_path
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish

MIB = 1024**2
WAYS = ("vllm", "new", "standby")


@dataclass
class Seen:
    """The results of one way."""

    again_s: list[float] = field(default_factory=list)
    noticed_s: list[float] = field(default_factory=list)
    """Of that, until the death was noticed and nothing was left of the dead engine."""
    processor_s: list[float] = field(default_factory=list)
    """What the new engine's processes computed from the kill on; other work on the machine hardly changes it."""
    phases: list[dict[str, float]] = field(default_factory=list)
    engine_bytes: list[int] = field(default_factory=list)
    """Proportional memory of a running engine."""
    standby_bytes: list[int] = field(default_factory=list)
    """Proportional memory of a standby beside it."""
    import_s: list[float] = field(default_factory=list)


class Rig:
    """One plan, and engines that run it."""

    def __init__(self, plan: Plan, command: Command, log: Path) -> None:
        self.plan, self.command, self.log = plan, command, log
        self.victims = 0

    async def start(self, way: str, standby: Standby | None) -> tuple[Engine, Life]:
        life = Life()
        life.enter(State.PREPARING)
        life.enter(State.STARTING, Phase.LAUNCHING)
        command = dataclasses.replace(self.command, preload=None) if way == "vllm" else self.command
        make_workplace(command.workplace)
        client = EngineClient(command.workplace, self.plan.model_name)
        engine = await Engine.launch(command, self.log, client, life, standby)
        try:
            await engine.wait_until_ready(self.plan.context)
        except BaseException:
            await engine.stop()
            raise
        life.enter(State.READY)
        return engine, life

    async def round(self, way: str, seen: Seen) -> None:
        """One round: starts, kills, starts again."""
        engine, _ = await self.start(way, None)
        standby, before_s = None, 0.0
        try:
            seen.engine_bytes.append(memory(find_processes(self.command.workplace)))
            if way == "standby":
                began = time.monotonic()
                standby = await Standby.prepare(self.command)
                assert standby is not None
                assert await standby.wait_until_ready()
                seen.import_s.append(time.monotonic() - began)
                waiting = [psutil.Process(standby.pid)]
                seen.standby_bytes.append(memory(waiting))
                before_s = computed(waiting)
            began = time.monotonic()
            self.kill()
            await engine.wait_until_dead()
        finally:
            await engine.stop()
        seen.noticed_s.append(time.monotonic() - began)
        engine, life = await self.start(way, standby)
        seen.again_s.append(time.monotonic() - began)
        seen.processor_s.append(computed(find_processes(self.command.workplace)) - before_s)
        seen.phases.append({phase.value: seconds for phase, seconds in life.phase_s.items()})
        await engine.stop()

    def kill(self) -> None:
        """Kills the server or the core, in turn."""
        found = find_processes(self.command.workplace)
        core = next((one for one in found if one.name().startswith("VLLM::EngineCor")), None)
        self.victims += 1
        server = max(found, key=lambda one: len(one.children(recursive=True)))
        (core if core and self.victims % 2 else server).kill()


def memory(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


def computed(processes: list[psutil.Process]) -> float:
    """Processor time of processes and of what they have waited for, in seconds."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


async def measure(rig: Rig, rounds: int, until: float, ways: tuple[str, ...]) -> dict[str, Seen]:
    """Measures rounds of all ways in turn until the time is over."""
    seen = {way: Seen() for way in ways}
    longest = 0.0
    for number in range(rounds):
        for way in ways:
            began = time.monotonic()
            if began + longest > until:
                return seen
            await rig.round(way, seen[way])
            longest = max(longest, time.monotonic() - began)
            load = os.getloadavg()[0]
            print(f"round {number + 1} {way}: {seen[way].again_s[-1]:.1f} s (load {load:.1f})", flush=True)
    return seen


Work = Callable[[Rig], Awaitable[dict[str, Seen]]]


async def within(engine: Path, model_path: Path, scratch: Path, work: Work) -> str:
    """Runs the measurement with a plan for this machine; returns the table."""
    device = read_device()
    model = read_model(model_path)
    host = await adopt(engine, scratch / "cache", scratch / "engine" / "1")
    await host.make_ready(print)
    plan = make_plan(device, model, Wish(), engine=engine_traits(host.version))
    assert plan.fits, plan.shortfall_bytes
    target = Target(model_path, plan.model_name, None, device.family is Family.CPU)
    rig = Rig(plan, host.command(plan, target), scratch / "engine.log")
    head = f"{device.name}, {os.cpu_count()} cores, {platform.machine()}; vLLM {host.version}; {plan.model_name}"
    try:
        return table(head, await work(rig))
    except BaseException:
        with contextlib.suppress(OSError):
            print(rig.log.read_text(errors="replace")[-4000:])
        raise
    finally:
        await asyncio.to_thread(end_processes, scratch)


def table(head: str, seen: dict[str, Seen]) -> str:
    """Medians, with the least and the most."""
    lines = [
        head,
        "",
        "| way | rounds | serves again after | noticed, cleaned | launching | rest | processor time |",
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for way, found in seen.items():
        if not found.again_s:
            continue
        launching = [phases.get(Phase.LAUNCHING.value, 0.0) for phases in found.phases]
        rest = [sum(phases.values()) - first for phases, first in zip(found.phases, launching, strict=True)]
        values = (found.again_s, found.noticed_s, launching, rest, found.processor_s)
        cells = [spread(value) for value in values]
        lines.append(f"| {way} | {len(found.again_s)} | {' | '.join(cells)} |")
    lines += ["", "| way | a running engine, PSS | a standby beside it, PSS | imported after |", "|---|---|---|---|"]
    for way, found in seen.items():
        if found.engine_bytes:
            cells = [in_mib(found.engine_bytes), in_mib(found.standby_bytes), spread(found.import_s)]
            lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(seconds: list[float]) -> str:
    if not seconds:
        return "–"
    return f"{statistics.median(seconds):.1f} s ({min(seconds):.1f}–{max(seconds):.1f})"


def in_mib(sizes: list[int]) -> str:
    return f"{statistics.median(sizes) / MIB:.0f} MiB" if sizes else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=packaged_path("vedette-tiny"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--only", default=",".join(WAYS))
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    ways = tuple(options.only.split(","))
    with tempfile.TemporaryDirectory() as scratch:
        print(
            asyncio.run(
                within(
                    options.engine,
                    options.model.absolute(),
                    Path(scratch),
                    lambda rig: measure(rig, options.rounds, until, ways),
                )
            )
        )


if __name__ == "__main__":
    main()
