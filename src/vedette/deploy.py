"""The order of things: facts, plan, engine. The only place that joins them; knows neither terminal nor HTTP."""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from vedette.config import Home, Settings
from vedette.device.facts import Device, Family
from vedette.device.read import read_device
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine, EngineDiedError, free_port
from vedette.engine.flags import Target, engine_traits, substitutes
from vedette.engine.host import Host
from vedette.engine.process import find_processes
from vedette.engine.state import Cause, Life, Phase, State
from vedette.errors import DeviceError, DoesNotFitError, EngineFailedError
from vedette.hosting import host_for
from vedette.instance import slot
from vedette.measure.calibration import measured_start, record_start
from vedette.measure.speed import read_decode_tokens_per_s
from vedette.models.facts import Model
from vedette.models.fetch import fetch_model
from vedette.models.store import Source, read_source
from vedette.plan.calibration import Calibration, calibration_key
from vedette.plan.document import plan_json
from vedette.plan.explain import concession_notes
from vedette.plan.make import make_plan
from vedette.plan.plan import Context, Plan
from vedette.proposal import (
    calibration_for,
    calibrations,
    choose,
    device_json,
    does_not_fit,
    engine_json,
    read_machine,
    wish_of,
)
from vedette.recovery import Recovery

Tell = Callable[[Mapping[str, Any]], None]
"""Receives each finding (`{"event": "device" | "model" | "plan" | "note", …}`) as it is made."""

log = logging.getLogger(__name__)


class Deployment:
    """One model from a wish to an answering engine and back; what `serve` and `status` look at."""

    def __init__(self, settings: Settings, home: Home, url: str, tell: Tell) -> None:
        self.life = Life()
        self.url = url
        self.plan_json: dict[str, Any] | None = None
        self._settings = settings
        self._home = home
        self._slot = slot(home)
        self._tell = tell
        self._model: Model | None = None
        self._plan: Plan | None = None
        self._engine: Engine | None = None
        self._host: Host | None = None
        self._recovery = Recovery()
        self._ready_at: float | None = None
        self._learning: asyncio.Future[Calibration | None] | None = None

    # What `serve` sees (serve/backend.py)

    @property
    def client(self) -> EngineClient | None:
        return self._engine.client if self._engine and self.life.status.state is State.READY else None

    @property
    def context(self) -> Context | None:
        return self._plan.context if self._plan else None

    @property
    def thinks(self) -> bool:
        return self._model is not None and self._model.thinks

    @property
    def sees(self) -> bool:
        return self._model is not None and self._model.vision is not None

    def status_json(self) -> dict[str, Any]:
        return {
            **self.life.status.as_json(),
            "model": self._model.name if self._model else None,
            "page_url": f"{self.url}/",
            "api_url": f"{self.url}/v1",
            "engine_pid": self._engine.pid if self._engine else None,
            "plan": self.plan_json,
        }

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        async with contextlib.aclosing(self.life.watch()) as statuses:
            async for _ in statuses:
                yield self.status_json()

    # The way up, and staying up

    async def run(self) -> None:
        """Brings the model up and keeps it up until cancelled. Raises VedetteError when it cannot."""
        async with self._serving() as (source, host):
            while True:
                await self._keep_up(source, host)

    async def try_once(self) -> tuple[Plan, Calibration | None]:
        """Brings the model up, measures what that took, and stops it; None if it could not be measured.

        Raises VedetteError when it cannot come up.
        """
        async with self._serving():
            assert self._plan is not None and self._learning is not None  # noqa: S101, PT018 - it is ready
            assert self._engine is not None  # noqa: S101
            measured = await self._learning
            speed = await read_decode_tokens_per_s(self._engine.client, self._plan.context.answer_tokens)
            return self._plan, measured and dataclasses.replace(measured, decode_tokens_per_s=speed)

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[tuple[Source, Host]]:
        """A ready engine inside, none after."""
        try:
            self.life.enter(State.PREPARING, Phase.DETECTING)
            source, host = await self._prepare()
            await self._come_up(source, host)
            yield source, host
        finally:
            self.life.enter(State.DRAINING)
            await self._stop_engine()
            self.life.enter(State.STOPPED)

    async def _prepare(self) -> tuple[Source, Host]:
        device = await asyncio.to_thread(read_machine, self._home)
        self._tell({"event": "device", **device_json(device)})
        self.life.progress(Phase.CHOOSING)
        source, model = await asyncio.to_thread(choose, self._settings, self._home, device)
        if model is None:  # an id that only a hub knows: its files have to be here before they can be planned for
            await self._fetch(source, None)
            model = await asyncio.to_thread(_read_fetched, source)
        why = "as you asked" if self._settings.model else "the best of the catalogue that fits here"
        self._tell({"event": "model", "name": source.name, "weights_bytes": model.weights_bytes, "why": why})
        self._model = model
        self._host = host = await host_for(device, self._settings, self._home, self._slot.workplace)
        self._make_plan(device, model, host)  # before gigabytes are fetched and installed for nothing
        self.life.progress(Phase.INSTALLING)
        await host.make_ready(lambda step: self.life.progress(Phase.INSTALLING, step))
        await self._fetch(source, host.python)
        return source, host

    async def _fetch(self, source: Source, python: Path | None) -> None:
        async with contextlib.aclosing(fetch_model(source, self._home.models, python)) as steps:
            async for step in steps:
                self.life.progress(Phase.FETCHING, step.detail, step.done_bytes, step.total_bytes)

    async def _start(self, source: Source, host: Host) -> None:
        """Plans with the memory of this moment and starts the engine. Raises VedetteError."""
        self.life.progress(Phase.PLANNING)
        device = await asyncio.to_thread(read_machine, self._home)
        self._model = await asyncio.to_thread(_read_fetched, source)
        plan = self._make_plan(device, self._model, host)
        target = Target(source.path, source.name, free_port(), device.family is Family.CPU)
        command = host.command(plan, target)
        self.plan_json = plan_json(plan, device, engine_json(device, plan, target, self._home.cache, host.version))
        for event in plan_events(plan, self.plan_json):
            self._tell(event)
        self.life.enter(State.STARTING, Phase.LAUNCHING)
        client = EngineClient(f"http://127.0.0.1:{target.port}", source.name)
        self._engine = await Engine.launch(command, self._slot.log, client, self.life)
        try:
            await self._engine.wait_until_ready(plan.context)
        except EngineDiedError as error:
            if error.cause.code == "engine_broken":
                host.mark_broken()
            raise
        self.life.enter(State.READY)
        self._ready_at = time.monotonic()
        self._learning = asyncio.ensure_future(asyncio.to_thread(self._learn, device, plan, self._engine, host))

    async def _come_up(self, source: Source, host: Host) -> None:
        """The first start; one that runs out of memory is tried again with less. Raises VedetteError."""
        try:
            await self._start(source, host)
        except EngineDiedError as error:
            if error.cause.code != "out_of_memory":
                raise
            await self._come_back(source, host, error.cause)

    async def _keep_up(self, source: Source, host: Host) -> None:
        """Waits for the engine to die and brings it back. Raises EngineFailedError when that fails too often."""
        assert self._engine is not None  # noqa: S101 - only called once it has served
        await self._come_back(source, host, await self._engine.wait_until_dead())

    async def _come_back(self, source: Source, host: Host, cause: Cause) -> None:
        """Starts the engine again and again, with less memory where that was what it died of, until it serves.

        Raises EngineFailedError when it died too often, DoesNotFitError when not even the least fits any more.
        """
        while True:
            self.life.enter(State.FAILED, cause=cause)
            await self._stop_engine()
            assert self._plan is not None  # noqa: S101 - it ran one
            delay_s = self._recovery.after(cause, self._plan, self._served_s())
            if delay_s is None:
                raise EngineFailedError(f"The engine died and did not come back: {cause.sentence}", cause.hint)
            await asyncio.sleep(delay_s)
            self.life.enter(State.PREPARING, Phase.PLANNING)
            before = self._plan
            try:
                await self._start(source, host)
            except EngineDiedError as error:
                cause = error.cause
            except DoesNotFitError as error:
                if self._recovery.budget_bytes is not None:
                    raise
                cause = Cause(error.code, error.sentence, error.hint)  # somebody may give the memory back
            except EngineFailedError as error:
                cause = Cause(error.code, error.sentence, error.hint)
            else:
                self._tell_of_less(before)
                return

    def _served_s(self) -> float:
        """How long the engine had served that has just died; 0 if it never did."""
        ready_at, self._ready_at = self._ready_at, None
        return 0.0 if ready_at is None else time.monotonic() - ready_at

    def _tell_of_less(self, before: Plan) -> None:
        """Says what the model serves with since the engine came back, if that is less than before."""
        assert self._plan is not None  # noqa: S101 - it is ready
        now, then = self._plan.context, before.context
        if now != then:
            sentence = (
                f"After running out of memory the engine serves with less: {now.concurrency} requests of "
                f"{now.max_model_len:,} tokens, before {then.concurrency} of {then.max_model_len:,}."
            )
            self._tell({"event": "note", "sentence": sentence})

    def _learn(self, device: Device, plan: Plan, engine: Engine, host: Host) -> Calibration | None:
        """What this start took, kept for the next plan; never fails. Runs in a thread."""
        if host.kind == "container":  # whose processes run elsewhere: a record would speak of its command alone
            return None
        assert self._model is not None  # noqa: S101 - it is what runs
        key = calibration_key(device, self._model, plan.settings, host.version)
        try:
            taken = device.memory_available_bytes - read_device().memory_available_bytes
            processes = find_processes(self._slot.workplace)
            measured = measured_start(key, plan, engine, self.life.phase_s, processes, taken)
            if self._engine is not engine:  # it ended meanwhile, and some of it was not there to be measured
                return None
            record_start(calibrations(self._home), measured)
        except (OSError, DeviceError) as error:
            log.warning("What this start took is not kept: %s.", error)
            return None
        return measured

    async def _stop_engine(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            if self._host is not None:
                await self._host.end()
            await engine.stop()

    def _make_plan(self, device: Device, model: Model, host: Host) -> Plan:
        wish = wish_of(self._settings)
        calibration = calibration_for(device, model, wish, self._home, host.version)
        budget = self._recovery.budget_bytes
        if budget is not None:
            device = dataclasses.replace(device, memory_available_bytes=min(budget, device.memory_available_bytes))
        plan = make_plan(device, model, wish, calibration=calibration, engine=engine_traits(host.version))
        if not plan.fits:
            raise does_not_fit(plan)
        self._plan = plan
        return plan


def _read_fetched(source: Source) -> Model:
    model = read_source(dataclasses.replace(source, installed=True))
    assert model is not None  # noqa: S101 - an installed model has facts or raises
    return model


def plan_events(plan: Plan, document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is told of a plan that is about to run; document: its JSON."""
    notes = [*concession_notes(plan), *substitutes(plan.settings, document["engine"]["version"])]
    return [{"event": "plan", "plan": document}, *({"event": "note", "sentence": note} for note in notes)]
