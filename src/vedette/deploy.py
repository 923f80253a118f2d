"""The order of things: facts, plan, engine. The only place that joins them; knows neither terminal nor HTTP."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette.config import Home, Settings
from vedette.device.facts import Family
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine, EngineDiedError, free_port
from vedette.engine.flags import Target, substitutes
from vedette.engine.host import Host
from vedette.engine.process import end_processes
from vedette.engine.state import Cause, Life, Phase, State
from vedette.errors import DoesNotFitError, EngineFailedError, SwapFailedError, VedetteError
from vedette.hosting import host_for
from vedette.instance import slot
from vedette.measure.speed import read_decode_tokens_per_s
from vedette.models.facts import Model
from vedette.models.fetch import fetch_model
from vedette.models.store import Source, read_source
from vedette.plan.calibration import Calibration
from vedette.plan.document import plan_json
from vedette.plan.explain import concession_notes
from vedette.plan.plan import Context, Plan
from vedette.planner import Planner, Tell, once_stopped
from vedette.proposal import choose, device_json, engine_json
from vedette.recovery import Recovery

DRAIN_S = 60.0
"""How long answers that are being given may hold up a swap; what takes longer is ended as by a crash."""


@dataclass
class _Order:
    """To serve another model."""

    settings: Settings
    """With its name in them."""
    source: Source
    done: "asyncio.Future[None]"


class Deployment:
    """One model from a wish to an answering engine and back; what `serve` and `status` look at."""

    def __init__(self, settings: Settings, home: Home, url: str, tell: Tell, number: int = 1) -> None:
        self.life = Life()
        self.url = url
        self.plan_json: dict[str, Any] | None = None
        self.coming: str | None = None
        self.used_at = 0.0
        """When a request last came, in seconds of the monotonic clock."""
        self.planner = Planner(home, tell)
        self._settings = settings
        self._home = home
        self._slot = slot(home, number)
        self._tell = tell
        self._source: Source | None = None
        self._model: Model | None = None
        self._plan: Plan | None = None
        self._engine: Engine | None = None
        self._host: Host | None = None
        self._recovery = Recovery()
        self._ready_at: float | None = None
        self._measured: Calibration | None = None
        self._answering = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._orders: asyncio.Queue[_Order] = asyncio.Queue()
        self._swapping = asyncio.Lock()

    # What `serve` sees (serve/backend.py)

    @property
    def name(self) -> str | None:
        return self._source.name if self._source else None

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

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        self._answering += 1
        self._idle.clear()
        self.used_at = time.monotonic()
        try:
            yield
        finally:
            self._answering -= 1
            if not self._answering:
                self._idle.set()

    def status_json(self) -> dict[str, Any]:
        return {
            **self.life.status.as_json(),
            "model": self.name,
            "coming": self.coming,
            "page_url": f"{self.url}/",
            "api_url": f"{self.url}/v1",
            "engine_pid": self._engine.pid if self._engine else None,
            "plan": self.plan_json,
        }

    async def watch(self) -> AsyncGenerator[dict[str, Any], None]:
        async with contextlib.aclosing(self.life.watch()) as statuses:
            async for _ in statuses:
                yield self.status_json()

    # The way up, staying up, and the change to another model

    async def run(self) -> None:
        """Brings the model up and keeps it up until cancelled. Raises VedetteError when it cannot."""
        try:
            async with self._serving():
                while True:
                    await self._change(await self._next_order())
        finally:
            while not self._orders.empty():
                _refuse(self._orders.get_nowait())

    async def try_once(self) -> tuple[Plan, Calibration | None]:
        """Brings the model up, measures what that took, and stops it; None if it could not be measured.

        Raises VedetteError when it cannot come up.
        """
        async with self._serving():
            assert self._plan is not None and self._engine is not None  # noqa: S101, PT018 - it is ready
            speed = await read_decode_tokens_per_s(self._engine.client, self._plan.context.answer_tokens)
            return self._plan, self._measured and dataclasses.replace(self._measured, decode_tokens_per_s=speed)

    async def swap(self, argument: str) -> None:
        """Serves another model in this one's place; returns once it answers.

        What is not here is fetched first, while this one still answers. Raises VedetteError: nothing has changed
        then, except for SwapFailedError, after which this one is brought back.
        """
        async with self._swapping:
            settings = dataclasses.replace(self._settings, model=argument)
            device = await self.planner.look()
            source, model = await asyncio.to_thread(choose, settings, self._home, device)
            if source.name == self.name and self.client is not None:
                return
            if model is not None and self._plan is not None and self._engine is not None and self._host is not None:
                self.planner.plan(settings, once_stopped(device, self._plan), model, self._host.version)
            if not source.installed:
                await self._fetch(source, self._host.python if self._host else None)
            order = _Order(settings, source, asyncio.get_running_loop().create_future())
            self.coming = source.name
            try:
                self._orders.put_nowait(order)
                await asyncio.shield(order.done)
            finally:
                self.coming = None

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        """A ready engine inside, none after."""
        try:
            self.life.enter(State.PREPARING, Phase.DETECTING)
            await self._prepare()
            await self._come_up()
            yield
        finally:
            self.life.enter(State.DRAINING)
            await self._stop_engine()
            self.life.enter(State.STOPPED)

    async def _prepare(self) -> None:
        device = await self.planner.look()
        self._tell({"event": "device", **device_json(device)})
        self.life.progress(Phase.CHOOSING)
        source, model = await asyncio.to_thread(choose, self._settings, self._home, device)
        self._source = source
        if model is None:  # an id that only a hub knows: its files have to be here before they can be planned for
            await self._fetch(source, None)
            model = await asyncio.to_thread(_read_fetched, source)
        why = "as you asked" if self._settings.model else "the best of the catalogue that fits here"
        self._tell({"event": "model", "name": source.name, "weights_bytes": model.weights_bytes, "why": why})
        self._host = host = await host_for(device, self._settings, self._home, self._slot.workplace)
        # Before gigabytes are fetched and installed for nothing.
        self._plan = self.planner.plan(self._settings, device, model, host.version)
        self.life.progress(Phase.INSTALLING)
        await host.make_ready(lambda step: self.life.progress(Phase.INSTALLING, step))
        await self._fetch(source, host.python)

    async def _fetch(self, source: Source, python: Path | None) -> None:
        async with contextlib.aclosing(fetch_model(source, self._home.models, python)) as steps:
            async for step in steps:
                self.life.progress(Phase.FETCHING, step.detail, step.done_bytes, step.total_bytes)

    async def _start(self) -> None:
        """Plans with the memory of this moment and starts the engine. Raises VedetteError."""
        assert self._source is not None and self._host is not None  # noqa: S101, PT018 - prepared before
        source, host = self._source, self._host
        self.life.progress(Phase.PLANNING)
        self._model = model = await asyncio.to_thread(_read_fetched, source)
        device = await self.planner.clear_the_way(model, self._plan.memory.total_bytes if self._plan else None)
        budget = self._recovery.budget_bytes
        self._plan = plan = self.planner.plan(self._settings, device, model, host.version, budget)
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
        # Before anybody's request runs, which would be counted as the start's.
        arguments = (device, model, plan, self._engine, host, self.life.phase_s)
        self._measured = await asyncio.to_thread(self.planner.measure, *arguments)
        self.life.enter(State.READY)
        self._ready_at = time.monotonic()

    async def _come_up(self) -> None:
        """The first start; one that runs out of memory is tried again with less. Raises VedetteError."""
        try:
            await self._start()
        except EngineDiedError as error:
            if error.cause.code != "out_of_memory":
                raise
            await self._come_back(error.cause)

    async def _next_order(self) -> _Order:
        """Keeps the engine up until another model is ordered. Raises EngineFailedError when it dies too often."""
        staying, ordered = asyncio.ensure_future(self._stay_up()), asyncio.ensure_future(self._orders.get())
        try:
            await asyncio.wait({staying, ordered}, return_when=asyncio.FIRST_COMPLETED)
            return ordered.result() if ordered.done() else await staying
        finally:
            for task in (staying, ordered):
                task.cancel()
            await asyncio.wait({staying, ordered})

    async def _stay_up(self) -> _Order:
        """Brings the engine back whenever it dies; never returns."""
        while True:
            assert self._engine is not None  # noqa: S101 - it has served
            await self._come_back(await self._engine.wait_until_dead())

    async def _come_back(self, cause: Cause) -> None:
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
                await self._start()
            except EngineDiedError as error:
                cause = error.cause
            except DoesNotFitError as error:
                if self._recovery.budget_bytes is not None:
                    raise
                cause = cause_of(error)  # somebody may give the memory back
            except EngineFailedError as error:
                cause = cause_of(error)
            else:
                self._tell_of_less(before)
                return

    async def _change(self, order: _Order) -> None:
        """Serves the ordered model; if that does not come up, the one before. Raises VedetteError if neither does."""
        before = self._settings, self._source, self._recovery
        try:
            self.life.enter(State.DRAINING)
            await self._drain()
            await self._stop_engine()
            # An engine whose launch this order has broken off is no `Engine` yet.
            await asyncio.to_thread(end_processes, self._slot.workplace)
            self._settings, self._source, self._recovery = order.settings, order.source, Recovery()
            self.life.enter(State.PREPARING, Phase.PLANNING)
            await self._come_up()
            order.done.set_result(None)
        except VedetteError as error:
            await self._stop_engine()
            was = f"{order.source.name} did not come up: {error.sentence}"
            self._settings, self._source, self._recovery = before
            _refuse(order, SwapFailedError(f"{was} {self.name} is brought back.", error.hint))
            self._tell({"event": "note", "sentence": was})
            self.life.enter(State.FAILED, cause=cause_of(error))
            self.life.enter(State.PREPARING, Phase.PLANNING)
            await self._bring_back()
        finally:
            _refuse(order)

    async def _bring_back(self) -> None:
        """Starts what has served here before. Raises VedetteError when it dies too often or does not fit any more."""
        try:
            await self._start()
        except EngineDiedError as error:
            await self._come_back(error.cause)

    async def _drain(self) -> None:
        """Waits until what is being answered is."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), DRAIN_S)

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

    async def _stop_engine(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            if self._host is not None:
                await self._host.end()
            await engine.stop()


def cause_of(error: VedetteError) -> Cause:
    return Cause(error.code, error.sentence, error.hint)


def _refuse(order: _Order, error: VedetteError | None = None) -> None:
    """Ends an order that nobody has ended yet."""
    if not order.done.done():
        stopped = EngineFailedError("vedette stops, or the engine died for good.", "See `vedette status`.")
        order.done.set_exception(error or stopped)
        order.done.exception()  # whoever waited may be gone


def _read_fetched(source: Source) -> Model:
    model = read_source(dataclasses.replace(source, installed=True))
    assert model is not None  # noqa: S101 - an installed model has facts or raises
    return model


def plan_events(plan: Plan, document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is told of a plan that is about to run; document: its JSON."""
    notes = [*concession_notes(plan), *substitutes(plan.settings, document["engine"]["version"])]
    return [{"event": "plan", "plan": document}, *({"event": "note", "sentence": note} for note in notes)]
