"""Several models and swaps between them: whole deployments whose engines are real processes that stand in for vLLM."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.rig.engine_settings import VLLM_HELP
from tests.rig.stand_ins.app_stand_in import OWNER, access_of
from tests.rig.stand_ins.engine_environment import ENGINE_STAND_IN, make_environment
from tests.rig.zeros import install_zeros
from vedette.deploy.fleet import Fleet
from vedette.engine.process.workplace import find_processes
from vedette.engine.state import State
from vedette.errors import DoesNotFitError, EngineFailedError, ModelNotFoundError, SwapFailedError
from vedette.events import Event, PlanMade
from vedette.models.store.model_lookup import packaged_path
from vedette.serve.app import create_app
from vedette.serve.runner import make_runner
from vedette.settings.home import Home
from vedette.settings.load import read_settings

MAIN = """
import runpy, sys
from pathlib import Path
words = sys.argv[1:]
if "--help=all" in words:
    print({help!r})
    sys.exit()
name = words[words.index("--served-model-name") + 1]
modes = Path({modes!r}, name.replace("/", "--"))
sys.argv = [{fake!r}, words[words.index("--uds") + 1], "name=" + name]
sys.argv += modes.read_text().split() if modes.exists() else []
runpy.run_path({fake!r}, run_name="__main__")
"""


@dataclass
class Rig:
    """A fleet that serves, and the settings that a test may change."""

    fleet: Fleet
    url: str
    http: aiohttp.ClientSession
    running: "asyncio.Task[None]"
    events: list[Event]
    modes: Path
    home: Home

    async def ask(self, model: str | None = None) -> tuple[int, str]:
        messages = [{"role": "user", "content": "hi"}]
        body: dict[str, Any] = {"messages": messages, "stream": True} | ({"model": model} if model else {})
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body) as answer:
            return answer.status, await answer.text()

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with contextlib.aclosing(self.fleet.watch()) as changes:
            async for _ in changes:
                if wanted():
                    return

    def pid(self, number: int) -> int:
        pid = self.fleet.served[number].status.engine_pid
        assert pid is not None
        return pid

    def is_ready(self) -> bool:
        return all(each.client is not None for each in self.fleet.served)

    def misbehave(self, model: str, *modes: str) -> None:
        (self.modes / model.replace("/", "--")).write_text(" ".join(modes))


Start = Callable[..., contextlib.AbstractAsyncContextManager[Rig]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a fleet; vedette/copy and vedette/other are copies of vedette-tiny, vedette/huge fits no device."""
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    modes = tmp_path / "modes"
    for directory in (home.models, home.state, home.cache, modes):
        directory.mkdir(parents=True)
    for name in ("vedette--copy", "vedette--other"):
        shutil.copytree(packaged_path("vedette-tiny"), home.models / name)
    install_zeros(home, "vedette/huge", 200, 5760)
    fake = str(ENGINE_STAND_IN)
    main = MAIN.format(help=VLLM_HELP, modes=str(modes), fake=fake)
    engine = make_environment(tmp_path / "environment", "0.32.0+cpu", main)

    @contextlib.asynccontextmanager
    async def start(*models: str, **flags: Any) -> AsyncIterator[Rig]:
        named = {"model": models[0], "beside": ", ".join(models[1:]) or None, "engine": str(engine)}
        settings = read_settings({"wait_s": 20, **named, **flags}, {"HOME": str(tmp_path)})
        events: list[Event] = []
        fleet = Fleet(settings, home, "http://127.0.0.1:1", events.append)
        runner = make_runner(create_app(fleet, wait_s=settings.wait_s, access=access_of(home.access)))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as http:
            running = asyncio.ensure_future(fleet.run())
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            rig = Rig(fleet, url, http, running, events, modes, home)
            try:
                becoming_ready = asyncio.ensure_future(rig.until(rig.is_ready))
                await asyncio.wait({becoming_ready, running}, return_when=asyncio.FIRST_COMPLETED)
                becoming_ready.cancel()
                yield rig
            finally:
                running.cancel()
                await asyncio.wait({running})
                await runner.cleanup()
        assert find_processes(home.workplace) == []

    return start


async def test_a_swap_replaces_the_served_model_and_ends_its_engine(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        assert "vedette-tiny" in (await rig.ask("vedette-tiny"))[1]
        assert (await rig.ask("vedette/copy"))[0] == 404
        first = rig.pid(0)
        await rig.fleet.swap("vedette/copy")
        assert "vedette/copy" in (await rig.ask("vedette/copy"))[1]
        assert (await rig.ask("vedette-tiny"))[0] == 404
        assert rig.fleet.service_status.models[0].model == "vedette/copy"
        assert not Path(f"/proc/{first}").exists()
        await rig.fleet.swap("vedette/copy")  # already served: no second plan
        assert sum(isinstance(event, PlanMade) for event in rig.events) == 2


async def test_running_answers_finish_and_new_requests_wait_during_a_swap(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        rig.misbehave("vedette-tiny", "lazy")
        rig.misbehave("vedette/copy", "lazy")
        await rig.fleet.swap("vedette/copy")
        slow = asyncio.ensure_future(rig.ask("vedette/copy"))
        await asyncio.sleep(0.3)
        swapping = asyncio.ensure_future(rig.fleet.swap("vedette-tiny"))
        await rig.until(lambda: rig.fleet.served[0].next_model is not None)
        early = asyncio.ensure_future(rig.ask("vedette-tiny"))
        nameless = asyncio.ensure_future(rig.ask())
        assert "vedette/copy" in (await slow)[1]
        assert "vedette-tiny" in (await early)[1]
        assert (await nameless)[0] == 200
        await swapping


async def test_a_model_that_does_not_fit_is_refused_and_the_old_model_keeps_serving(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        pid = rig.pid(0)
        with pytest.raises(DoesNotFitError):
            await rig.fleet.swap("vedette/huge")
        with pytest.raises(ModelNotFoundError):
            await rig.fleet.swap("vedette-tony")
        assert rig.pid(0) == pid
        assert (await rig.ask("vedette-tiny"))[0] == 200


async def test_the_old_model_comes_back_when_the_new_one_fails(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        rig.misbehave("vedette/copy", "die-loading")
        with pytest.raises(SwapFailedError) as failed:
            await rig.fleet.swap("vedette/copy")
        assert "surprise of the day" in failed.value.sentence
        await rig.until(rig.is_ready)
        assert "vedette-tiny" in (await rig.ask("vedette-tiny"))[1]
        assert rig.fleet.served[0].next_model is None


async def test_requests_for_the_old_model_wait_while_a_swap_is_tried(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        rig.misbehave("vedette/copy", "slow", "die-loading")
        swapping = asyncio.ensure_future(rig.fleet.swap("vedette/copy"))
        await rig.until(lambda: rig.fleet.served[0].name == "vedette/copy")
        status, text = await rig.ask("vedette-tiny")
        assert (status, "vedette-tiny" in text) == (200, True)
        with pytest.raises(SwapFailedError):
            await swapping


async def test_a_swap_is_accepted_while_the_old_model_starts_again(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        rig.misbehave("vedette/copy", "die-loading")
        rig.misbehave("vedette-tiny", "mute")
        with pytest.raises(SwapFailedError):
            await rig.fleet.swap("vedette/copy")
        await rig.until(lambda: rig.fleet.served[0].life.status.state is State.STARTING)
        await asyncio.wait_for(rig.fleet.swap("vedette/other"), 20)
        assert "vedette/other" in (await rig.ask("vedette/other"))[1]


async def test_a_request_swaps_the_model_where_that_is_allowed(start: Start) -> None:
    async with start("vedette-tiny", allow_swap=True) as rig:
        answers = await asyncio.gather(*(rig.ask(name) for name in ["vedette/copy", "vedette/copy", "vedette-tiny"]))
        assert [status for status, _ in answers] == [200, 200, 200]
        assert ["vedette/copy" in text for _, text in answers] == [True, True, False]


async def test_a_swap_is_accepted_while_a_killed_engine_restarts(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        rig.misbehave("vedette-tiny", "mute")
        os.kill(rig.pid(0), signal.SIGKILL)
        await rig.until(lambda: rig.fleet.served[0].life.status.state is State.STARTING)
        await rig.fleet.swap("vedette/copy")
        assert "vedette/copy" in (await rig.ask("vedette/copy"))[1]


async def test_requests_wait_for_an_engine_that_was_killed(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        os.kill(rig.pid(0), signal.SIGKILL)
        answers = await asyncio.gather(*(rig.ask("vedette-tiny") for _ in range(8)))
        assert {status for status, _ in answers} <= {200, 503}
        assert (await rig.ask("vedette-tiny"))[0] == 200


async def test_two_models_serve_side_by_side_and_a_crash_of_one_leaves_the_other(start: Start) -> None:
    async with start("vedette-tiny", "vedette/copy") as rig:
        assert [each.name for each in rig.fleet.served] == ["vedette-tiny", "vedette/copy"]
        assert "vedette-tiny" in (await rig.ask("vedette-tiny"))[1]
        assert "vedette/copy" in (await rig.ask("vedette/copy"))[1]
        async with rig.http.get(f"{rig.url}/api/status", headers=OWNER) as answer:
            models = (await answer.json())["models"]
        assert [each["state"] for each in models] == ["ready", "ready"]
        shares = [each["plan"]["memory"]["total_bytes"] for each in models]
        assert sum(shares) < models[0]["plan"]["device"]["memory_total_bytes"]
        os.kill(models[1]["engine_pid"], signal.SIGKILL)
        assert "vedette-tiny" in (await rig.ask("vedette-tiny"))[1]
        await rig.until(rig.is_ready)
        await rig.fleet.swap("vedette/other", replace="vedette/copy")
        assert "vedette/other" in (await rig.ask("vedette/other"))[1]
        assert "vedette-tiny" in (await rig.ask("vedette-tiny"))[1]


async def test_an_abandoned_model_gets_no_requests_and_a_swap_may_replace_it(start: Start) -> None:
    async with start("vedette-tiny", "vedette/copy") as rig:
        rig.misbehave("vedette/copy", "die-loading")
        os.kill(rig.pid(1), signal.SIGKILL)
        while not rig.fleet.served[1].abandoned:  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0.1)
        assert (await rig.ask("vedette/copy"))[0] == 404
        with pytest.raises(ModelNotFoundError):
            await rig.fleet.swap("vedette/other", replace="nobody")
        with pytest.raises(EngineFailedError):
            await rig.fleet.swap("vedette/other", replace="vedette/copy")
        assert "vedette-tiny" in (await rig.ask("vedette-tiny"))[1]
        await rig.fleet.swap("vedette/other")  # replaces the abandoned model
        assert "vedette/other" in (await rig.ask("vedette/other"))[1]


async def test_models_that_do_not_fit_side_by_side_are_refused(start: Start) -> None:
    async with start("vedette-tiny", "vedette/huge") as rig:
        with pytest.raises(DoesNotFitError) as refused:
            await rig.running
        assert "side by side" in refused.value.sentence


async def test_a_swap_in_progress_fails_when_the_fleet_stops(start: Start) -> None:
    async with start("vedette-tiny") as rig:
        rig.misbehave("vedette/copy", "mute")
        swapping = asyncio.ensure_future(rig.fleet.swap("vedette/copy"))
        await rig.until(lambda: rig.fleet.served[0].name == "vedette/copy")
        rig.running.cancel()
        with pytest.raises(EngineFailedError):
            await swapping
        await asyncio.wait({rig.running})
