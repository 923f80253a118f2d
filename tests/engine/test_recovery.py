"""Recovery from a lack of memory: whole deployments whose engine is a real process that crashes on command."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.rig.engine_settings import VLLM_HELP
from tests.rig.stand_ins.engine_environment import ENGINE_STAND_IN, make_environment
from tests.rig.zeros import install_zeros
from vedette.deploy import proposing, recovery
from vedette.deploy.calibration_store import parse_calibration
from vedette.deploy.deployment import Deployment
from vedette.device.device import Device, Family, OtherProcess
from vedette.errors import DoesNotFitError
from vedette.events import Event, Note, PlanMade, Recovered, event_json
from vedette.language.message import say
from vedette.settings.home import Home
from vedette.settings.load import read_settings

MIB = 1024**2
GIB = 1024**3
LARGE, SMALL = "HuggingFaceTB/SmolLM2-360M-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"
MAIN = """
import os, runpy, sys, threading, time
from pathlib import Path
words = sys.argv[1:]
if "--help=all" in words:
    print({help!r})
    sys.exit()
kv_limit, crash_now = Path({kv_limit!r}), Path({crash_now!r})
def crash():
    print("RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", flush=True)
    os._exit(1)
def watch():
    while not crash_now.exists():
        time.sleep(0.02)
    crash_now.unlink()
    crash()
if int(words[words.index("--kv-cache-memory-bytes") + 1]) > int(kv_limit.read_text()):
    crash()
threading.Thread(target=watch, daemon=True).start()
sys.argv = [{fake!r}, words[words.index("--uds") + 1]]
runpy.run_path({fake!r}, run_name="__main__")
"""
"""Crashes when its KV cache is larger than its limit, and when the test asks it to crash."""


@dataclass
class Rig:
    """A machine whose memory the test sets, with an engine that crashes above the KV cache limit the test sets."""

    home: Home
    engine: Path
    device: Device
    events: list[Event] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    running: "asyncio.Future[None]" = field(init=False)

    def record(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Returns once `wanted()` is true, or raises the error of the deployment that ends first."""
        while not wanted():
            self.changed.clear()
            change = asyncio.ensure_future(self.changed.wait())
            waited: set[asyncio.Future[Any]] = {change, self.running}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            if self.running.done():
                self.running.result()

    def limit_kv(self, kv_cache_bytes: int) -> None:
        (self.engine / "kv_limit").write_text(str(kv_cache_bytes))

    def run_out_of_memory(self) -> None:
        """Makes the engine that serves crash for lack of memory."""
        (self.engine / "crash_now").touch()

    def set_memory(self, available_bytes: int, *others: OtherProcess) -> None:
        self.device = replace(self.device, memory_available_bytes=available_bytes, other_processes=others)

    @contextlib.asynccontextmanager
    async def up(self, model: str = SMALL, **flags: Any) -> AsyncIterator[Deployment]:
        """A deployment that is starting; `events` holds its events."""
        self.events.clear()
        named = {"model": model, "engine": str(self.engine), "standby": "off"}
        settings = read_settings(named | flags, {"HOME": str(self.home.data)})
        deployment = Deployment(settings, self.home, "http://127.0.0.1:1", self.record)
        self.running = asyncio.ensure_future(deployment.run())
        watching = asyncio.ensure_future(self._watch(deployment))
        try:
            yield deployment
        finally:
            self.running.cancel()
            watching.cancel()
            await asyncio.wait({self.running, watching})

    async def _watch(self, deployment: Deployment) -> None:
        async for _ in deployment.watch():
            self.changed.set()

    def plans(self) -> list[Mapping[str, Any]]:
        return [event.plan for event in self.events if isinstance(event, PlanMade)]

    def notes(self) -> list[Note]:
        return [event for event in self.events if isinstance(event, Note)]

    def recoveries(self) -> list[Recovered]:
        return [note.recovery for note in self.notes() if note.recovery is not None]


async def ready(deployment: Deployment, rig: Rig, recoveries: int) -> None:
    """Returns once the deployment serves and has reported that many recoveries."""
    await rig.until(lambda: deployment.client is not None and len(rig.recoveries()) == recoveries)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    for directory in (home.models, home.state, home.cache):
        directory.mkdir(parents=True)
    root = tmp_path / "environment"
    fake = str(ENGINE_STAND_IN)
    main = MAIN.format(help=VLLM_HELP, kv_limit=str(root / "kv_limit"), crash_now=str(root / "crash_now"), fake=fake)
    engine = make_environment(root, "0.32.0+cpu", main)
    install_zeros(home, LARGE, 32, 960)
    install_zeros(home, SMALL, 30, 576)
    device = Device(
        "box", Family.CPU, "x86_64", 8 * GIB, 6 * GIB, unified_memory=True, cpu_count=2, memory_limited=True
    )
    rig = Rig(home, engine, device)
    rig.limit_kv(GIB)
    monkeypatch.setattr(proposing, "read_machine", lambda home: rig.device)
    monkeypatch.setattr(recovery, "BACKOFF_S", 0.1)
    monkeypatch.setattr(recovery, "MEMORY_POLL_S", 0.1)
    return rig


async def test_an_engine_that_exceeds_its_plan_serves_with_less_memory_and_the_next_start_uses_that_plan(
    rig: Rig,
) -> None:
    async with rig.up() as deployment:
        await ready(deployment, rig, 0)
    (first_plan,) = rig.plans()
    kv_bytes = first_plan["memory"]["kv_cache_bytes"]
    rig.set_memory(first_plan["memory"]["total_bytes"] + 64 * MIB)
    rig.limit_kv(kv_bytes * 2 // 3)
    async with rig.up() as deployment:
        await ready(deployment, rig, 1)
        (recovered,) = rig.recoveries()
        assert deployment.status.recovered == (recovered,)
    assert recovered.fault == "engine"
    assert recovered.code == "out_of_memory"
    assert say(recovered.message).startswith("Out of memory while starting: the engine took more than the ")
    assert "Serving with " in say(recovered.message)
    totals = [plan["memory"]["total_bytes"] for plan in rig.plans()]
    assert totals == sorted(totals, reverse=True)
    async with rig.up() as deployment:
        await ready(deployment, rig, 0)
    (plan,) = rig.plans()
    assert plan["memory"]["total_bytes"] == totals[-1]
    (path,) = (rig.home.state / "calibrations").glob("lesson-*")
    lesson = parse_calibration(path.read_bytes()).lesson
    assert lesson is not None
    assert lesson.times == 1


async def test_a_model_that_no_plan_fits_ends_with_an_error_that_names_the_missing_memory(rig: Rig) -> None:
    rig.limit_kv(0)
    async with rig.up() as deployment:
        with pytest.raises(DoesNotFitError) as caught:
            await rig.until(lambda: deployment.client is not None)
    assert caught.value.sentence.startswith("Out of memory while starting: the engine took more than the ")
    assert f"{SMALL} does not fit: it needs " in caught.value.sentence
    totals = [plan["memory"]["total_bytes"] for plan in rig.plans()]
    assert totals == sorted(set(totals), reverse=True)


async def test_the_plan_shrinks_while_other_processes_hold_memory_and_grows_back_afterwards(rig: Rig) -> None:
    async with rig.up() as deployment:
        await ready(deployment, rig, 0)
        (first_plan,) = rig.plans()
        total = first_plan["memory"]["total_bytes"]
        left = total - first_plan["memory"]["kv_cache_bytes"] // 2
        rig.set_memory(left, OtherProcess("python3", 123, 3 * GIB))
        rig.run_out_of_memory()
        await ready(deployment, rig, 1)
        (recovered,) = rig.recoveries()
        assert recovered.fault == "others"
        assert "while serving" in say(recovered.message)
        assert "because python3 (process 123) took 3.00 GiB. Serving again with " in say(recovered.message)
        assert recovered.now.total_bytes <= left

        rig.set_memory(256 * MIB)
        rig.run_out_of_memory()
        await rig.until(lambda: "as soon as that memory is free" in str(event_json(rig.events[-1]).get("sentence")))
        rig.set_memory(6 * GIB)
        await ready(deployment, rig, 2)
    assert rig.plans()[-1]["memory"]["total_bytes"] == total
    assert list((rig.home.state / "calibrations").glob("lesson-*")) == []


async def test_a_smaller_model_of_the_family_serves_instead_where_that_is_allowed(rig: Rig) -> None:
    async with rig.up(LARGE, allow_smaller=True) as deployment:
        await ready(deployment, rig, 0)
        rig.set_memory(rig.plans()[0]["memory"]["weights_bytes"] + 600 * MIB)
        rig.run_out_of_memory()
        await ready(deployment, rig, 1)
        assert deployment.name == SMALL
    (recovered,) = rig.recoveries()
    assert f"Serving again with {SMALL} instead of {LARGE}" in say(recovered.message)
    assert (recovered.before.model, recovered.now.model) == (LARGE, SMALL)


async def test_memory_that_runs_out_with_an_answer_in_progress_is_a_request_s_fault_the_first_time(rig: Rig) -> None:
    async with rig.up() as deployment:
        await ready(deployment, rig, 0)
        for number, fault in enumerate(("request", "engine"), 1):
            with deployment.busy():
                rig.run_out_of_memory()
                await rig.until(lambda: deployment.client is None)
            await rig.until(lambda: deployment.blames_request is not None)
            assert deployment.blames_request is (fault == "request")
            await ready(deployment, rig, number)
            assert rig.recoveries()[-1].fault == fault
            lessons = list((rig.home.state / "calibrations").glob("lesson-*"))
            assert len(lessons) == number - 1
    before, after, last = (plan["memory"]["total_bytes"] for plan in rig.plans())
    assert before == after > last
