"""The same wishes by every way that leads to a plan: what is shown is what is run."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.rig.engine_settings import VLLM_HELP
from tests.rig.stand_ins.engine_environment import ENGINE_STAND_IN, make_environment
from tests.rig.zeros import install_zeros
from vedette.cli.print_command import engine_command
from vedette.deploy import proposing
from vedette.deploy.deployment import Deployment
from vedette.deploy.fleet import Fleet
from vedette.deploy.planning import PRINTED_PORT
from vedette.device.device import Device, Family
from vedette.errors import BadInputError, DoesNotFitError, ModelNotFoundError, VedetteError
from vedette.events import Event, Note, PlanMade
from vedette.settings.home import Home
from vedette.settings.load import read_settings
from vedette.settings.table import Settings
from vedette.tasks import first_of

GIB = 1024**3
TEXT = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAIN = """
import runpy, sys
words = sys.argv[1:]
if "--help=all" in words:
    print({help!r})
    sys.exit()
sys.argv = [{fake!r}, words[words.index("--uds") + 1]]
runpy.run_path({fake!r}, run_name="__main__")
"""
GRANTED: list[dict[str, Any]] = [
    {"model": "vedette-tiny"},
    {"model": "vedette-tiny", "context": 1000, "concurrency": 3},
    {"model": "vedette-tiny", "workload": "live", "picture": "320x240", "answer_tokens": 100},
    {"model": "vedette-tiny", "images": 0},
    {"model": TEXT},
    {"model": TEXT, "context": 8192, "concurrency": 1},
    {"model": TEXT, "images": 2},
    {"model": TEXT, "picture": "640x480", "context": 512},
    {"model": TEXT, "context": 8192, "concurrency": 64},  # more than fits
]
REFUSED: list[tuple[dict[str, Any], type[VedetteError]]] = [
    ({"model": "HuggingFaceTB/huge"}, DoesNotFitError),
    ({"model": "no-such-model"}, ModelNotFoundError),
    ({"model": "vedette-tiny", "images": 64}, BadInputError),
    ({"model": TEXT, "context": 100_000}, BadInputError),
]


@dataclass
class Machine:
    """A home with a stand-in engine on a machine whose memory does not change."""

    home: Home
    engine: Path
    events: list[Event] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def settings(self, **wish: Any) -> Settings:
        named = {"engine": str(self.engine), "standby": "off", **wish}
        return read_settings(named, {"HOME": str(self.home.data)})

    def notify(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()

    @property
    def plans(self) -> list[Mapping[str, Any]]:
        return [event.plan for event in self.events if isinstance(event, PlanMade)]

    @property
    def notes(self) -> set[str]:
        return {event.message.code for event in self.events if isinstance(event, Note)}

    @contextlib.asynccontextmanager
    async def serving(self, settings: Settings) -> AsyncIterator[Deployment]:
        """A deployment that answers."""
        self.events.clear()
        deployment = Deployment(settings, self.home, "http://127.0.0.1:1", self.notify)
        run = asyncio.ensure_future(deployment.run())
        try:
            await first_of(self.until_ready(deployment), asyncio.shield(run))
            yield deployment
        finally:
            run.cancel()
            await asyncio.wait({run})

    async def until_ready(self, deployment: Deployment) -> None:
        async with contextlib.aclosing(deployment.watch()) as changes:
            async for _ in changes:
                if deployment.client is not None:
                    return

    def forget(self) -> None:
        """What starts have taught; each way is to know the same."""
        for path in (self.home.state / "calibrations").glob("*"):
            path.unlink()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    for directory in (home.models, home.state, home.cache):
        directory.mkdir(parents=True)
    main = MAIN.format(help=VLLM_HELP, fake=str(ENGINE_STAND_IN))
    install_zeros(home, TEXT, 30, 576)
    install_zeros(home, "HuggingFaceTB/huge", 200, 5760)
    device = Device(
        "box", Family.CPU, "x86_64", 8 * GIB, 3 * GIB, unified_memory=True, cpu_count=2, memory_limited=True
    )
    monkeypatch.setattr(proposing, "read_machine", lambda home: device)
    return Machine(home, make_environment(tmp_path / "theirs", "0.32.0+cpu", main))


def portless(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan without where the engine listens, the only thing in which a start may differ from what is shown."""
    argv = list(document["engine"]["argv"])
    at, words = (argv.index("--uds"), 2) if "--uds" in argv else (argv.index("--host"), 4)
    argv[at : at + words] = ["ADDRESS"]
    return {**document, "engine": {**document["engine"], "argv": argv}}


@pytest.mark.parametrize("wish", GRANTED, ids=str)
async def test_every_way_makes_the_same_plan(machine: Machine, wish: dict[str, Any]) -> None:
    settings = machine.settings(**wish)
    shown = (await asyncio.to_thread(proposing.propose, settings, machine.home)).as_json()
    printed = json.loads(await asyncio.to_thread(engine_command, settings, machine.home, None, True))
    assert shown["engine"]["argv"][shown["engine"]["argv"].index("--port") + 1] == str(PRINTED_PORT)
    assert printed["argv"][-len(shown["engine"]["argv"]) + 1 :] == shown["engine"]["argv"][1:]

    async with machine.serving(settings) as deployment:
        (started,) = machine.plans
        assert portless(started) == portless(shown)
        assert deployment.status.plan == started
        ignored = {message["code"] for message in shown["wish"].get("ignored_messages", ())}
        assert ignored <= machine.notes
        assert shown["wish"]["met"] or machine.notes

        again = (await asyncio.to_thread(proposing.propose, settings, machine.home)).as_json()
        pid = deployment.status.engine_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while len(machine.plans) < 2 or deployment.client is None:
            machine.changed.clear()
            await asyncio.wait_for(machine.changed.wait(), 20)
        assert portless(machine.plans[1]) == portless(again)

    machine.forget()
    wish = {**wish, "context": min(4096, wish.get("context", 4096))}  # both models have as much
    settings = machine.settings(**wish)
    shown = (await asyncio.to_thread(proposing.propose, settings, machine.home)).as_json()
    other = TEXT if wish["model"] == "vedette-tiny" else "vedette-tiny"
    async with machine.serving(machine.settings(**{**wish, "model": other})) as deployment:
        await deployment.swap(wish["model"])
        assert portless(machine.plans[-1]) == portless(shown)


@pytest.mark.parametrize(("wish", "error"), REFUSED, ids=str)
async def test_every_way_refuses_with_the_same_words(
    machine: Machine, wish: dict[str, Any], error: type[VedetteError]
) -> None:
    settings = machine.settings(**wish)
    with pytest.raises(error) as printed:
        await asyncio.to_thread(engine_command, settings, machine.home, None, True)
    with pytest.raises(error) as started:
        await Deployment(settings, machine.home, "http://127.0.0.1:1", machine.notify).run()
    assert started.value.message == printed.value.message
    if error is not DoesNotFitError:
        with pytest.raises(error) as planned:
            await asyncio.to_thread(proposing.propose, settings, machine.home)
        assert planned.value.message == printed.value.message
        return
    assert not (await asyncio.to_thread(proposing.propose, settings, machine.home)).plan.fits
    async with machine.serving(machine.settings(model="vedette-tiny")) as deployment:
        with pytest.raises(error) as swapped:
            await deployment.swap(wish["model"])
        assert deployment.client is not None, "the model before is served on"
    assert swapped.value.message.code == printed.value.message.code


async def test_several_models_are_planned_as_they_are_started(machine: Machine) -> None:
    settings = machine.settings(model=TEXT, beside="vedette-tiny", images=1, context=2048)
    models = [TEXT, "vedette-tiny"]
    packed = await asyncio.to_thread(proposing.propose_packed, settings, models, machine.home)
    shown = [proposal.as_json() for proposal in packed.together]
    assert [plan["model"] for plan in shown] == models
    assert "ignored" in shown[0]["wish"]
    fleet = Fleet(settings, machine.home, "http://127.0.0.1:1", machine.notify)
    run = asyncio.ensure_future(fleet.run())
    while len(machine.plans) < 2:
        machine.changed.clear()
        await first_of(machine.changed.wait(), asyncio.shield(run))
    run.cancel()
    await asyncio.wait({run})
    assert [portless(plan) for plan in machine.plans] == [portless(plan) for plan in shown]


async def test_a_server_of_somebody_elses_is_planned_for_nowhere(machine: Machine) -> None:
    settings = machine.settings(model=TEXT, engine="http://127.0.0.1:9")
    with pytest.raises(VedetteError) as planned:
        await asyncio.to_thread(proposing.propose, settings, machine.home)
    with pytest.raises(VedetteError) as printed:
        await asyncio.to_thread(engine_command, settings, machine.home, None, True)
    assert planned.value.message == printed.value.message
