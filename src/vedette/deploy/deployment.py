"""The order of things: facts, plan, engine. The only place that joins them; knows neither terminal nor HTTP."""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette.deploy.hosting import host_for
from vedette.deploy.planner import Planner, plan_events, with_host_memory, with_memory
from vedette.deploy.proposal import choose, engine_document
from vedette.deploy.recovery import Recovery
from vedette.device.device import Family
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine, free_port
from vedette.engine.hosts.host import Host
from vedette.engine.process.process import Command
from vedette.engine.process.standby import Standby
from vedette.engine.process.workplace import end_processes
from vedette.engine.state import Life, Phase, State
from vedette.engine.vllm.causes import Outlook, outlook_of
from vedette.engine.vllm.flags import Target
from vedette.errors import (
    Cause,
    DoesNotFitError,
    EngineDiedError,
    EngineFailedError,
    SwapFailedError,
    VedetteError,
    cause_of,
)
from vedette.events import DeviceRead, ModelChosen, ModelStatus, Note, Notify
from vedette.language.message import Message
from vedette.measure.decode_speed import read_decode_tokens_per_s
from vedette.models.model import Model
from vedette.models.store.model_fetching import fetch_model
from vedette.models.store.model_lookup import Source, read_source
from vedette.plan.calibration import Calibration
from vedette.plan.plan import Context, Plan
from vedette.plan.standby_room import has_room_for_standby
from vedette.report.document import document_json, plan_document
from vedette.settings.home import Home
from vedette.settings.table import Settings

log = logging.getLogger(__name__)

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

    def __init__(self, settings: Settings, home: Home, url: str, notify: Notify, number: int = 1) -> None:
        self.life = Life()
        self.url = url
        self.plan_json: dict[str, Any] | None = None
        self.next_model: str | None = None
        self.abandoned = False
        """It has given up for good."""
        self.used_at = 0.0
        """When a request last came, in seconds of the monotonic clock."""
        self.planner = Planner(home, notify)
        self._settings = settings
        self._home = home
        self._slot = home.slot(number)
        self._notify = notify
        self._source: Source | None = None
        self._stands_in_for: tuple[str, ...] = ()
        """Larger models of the family that there was no room for any more."""
        self._model: Model | None = None
        self._context: Context | None = None
        self._engine: Engine | None = None
        self._host: Host | None = None
        self._command: Command | None = None
        self._standby: Standby | None = None
        self._ready_at: float | None = None
        self._measured: Calibration | None = None
        self._counting: asyncio.Future[None] | None = None
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
    def names(self) -> Sequence[str]:
        return () if self._source is None else (self._source.name, *self._stands_in_for)

    @property
    def client(self) -> EngineClient | None:
        return self._engine.client if self._engine and self.life.status.state is State.READY else None

    @property
    def context(self) -> Context | None:
        return self._context

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

    @property
    def status(self) -> ModelStatus:
        return ModelStatus(
            self.life.status,
            self.name,
            self.next_model,
            page_url=f"{self.url}/",
            api_url=f"{self.url}/v1",
            engine_pid=self._engine.pid if self._engine else None,
            plan=self.plan_json,
            recovered=tuple(self.planner.recovery.history),
        )

    async def watch(self) -> AsyncGenerator[None, None]:
        async with contextlib.aclosing(self.life.watch()) as statuses:
            async for _ in statuses:
                yield

    # The way up, staying up, and the change to another model

    async def run(self) -> None:
        """Brings the model up and keeps it up until cancelled. Raises VedetteError when it cannot."""
        try:
            async with self._serving():
                while True:
                    await self._change(await self._next_order())
        finally:
            self.abandoned = True
            while not self._orders.empty():
                _refuse(self._orders.get_nowait())

    async def try_once(self) -> tuple[Plan, Calibration | None]:
        """Brings the model up, measures what that took, and stops it; None if it could not be measured.

        Raises VedetteError when it cannot come up.
        """
        async with self._serving():
            plan = self.planner.started
            assert plan is not None and self._engine is not None  # noqa: S101, PT018 - it is ready
            speed = await read_decode_tokens_per_s(self._engine.client, plan.context.answer_tokens)
            return plan, self._measured and dataclasses.replace(self._measured, decode_tokens_per_s=speed)

    async def swap(self, argument: str) -> None:
        """Serves another model in this one's place; returns once it answers.

        What is not here is fetched first, while this one still answers. Raises VedetteError: nothing has changed
        then, except for SwapFailedError, after which this one is brought back.
        """
        async with self._swapping:
            if self.abandoned:
                raise EngineFailedError(f"{self.name} was given up.", "Start vedette again: `vedette down`, then `up`.")
            settings = dataclasses.replace(self._settings, model=argument)
            device = await self.planner.look()
            source, model = await asyncio.to_thread(choose, settings, self._home, device)
            if source.name == self.name and self.client is not None:
                return
            if model is not None and self._engine is not None and self._host is not None:
                assert self.planner.started is not None  # noqa: S101 - it runs
                self.planner.plan(settings, with_memory(device, self.planner.started), model, self._host.version)
            if not source.installed:
                await self._fetch(source, self._host.python if self._host else None)
            order = _Order(settings, source, asyncio.get_running_loop().create_future())
            self.next_model = source.name
            try:
                self._orders.put_nowait(order)
                await asyncio.shield(order.done)
            finally:
                self.next_model = None

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
            await self._end_standby()
            await self._stop_engine()
            await self._end_unfinished()
            self.life.enter(State.STOPPED)

    async def _prepare(self) -> None:
        device = await self.planner.look()
        self._notify(DeviceRead(device))
        self.life.progress(Phase.CHOOSING)
        source, model = await asyncio.to_thread(choose, self._settings, self._home, device)
        self._source = source
        if model is None:  # an id that only a hub knows: its files have to be here before they can be planned for
            await self._fetch(source, None)
            model = await asyncio.to_thread(_read_fetched, source)
        why = Message("deploy.as_asked") if self._settings.model else Message("deploy.best_that_fits")
        self._notify(ModelChosen(source.name, model.weights_bytes, why))
        self._host = host = await host_for(device, self._settings, self._home, self._slot.workplace)
        # Before gigabytes are fetched and installed for nothing.
        self._context = self.planner.plan(self._settings, device, model, host.version).context
        await self._make_host_ready()
        await self._fetch(source, host.python)

    async def _make_host_ready(self) -> None:
        assert self._host is not None  # noqa: S101 - chosen before
        self.life.progress(Phase.INSTALLING)
        await self._host.make_ready(lambda step: self.life.progress(Phase.INSTALLING, step))

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
        device = await self.planner.clear_the_way(model)
        if self._standby is not None:  # it becomes the engine, or ends
            device = with_host_memory(device, self._standby.memory_bytes())
        plan = self.planner.plan_start(self._settings, device, model, host.version)
        self._context = plan.context
        target = Target(source.path, source.name, free_port(), device.family is Family.CPU, self._stands_in_for)
        self._command = command = host.command(plan, target)
        engine = engine_document(host, plan, target, self._home.cache)
        self.plan_json = document_json(plan_document(plan, device, engine))
        for event in plan_events(plan, self.plan_json):
            self._notify(event)
        self.life.enter(State.STARTING, Phase.LAUNCHING)
        client = EngineClient(f"http://127.0.0.1:{target.port}", source.name)
        self._engine = await Engine.launch(command, self._slot.log, client, self.life, self._standby)
        self._standby = None  # it is the engine now, or has ended
        try:
            await self._engine.wait_until_ready(plan.context)
        except EngineDiedError as error:
            if error.cause.code == "engine_broken":
                host.mark_broken()
            raise
        # Before anybody's request runs, which would be counted as the start's.
        measure = (device, self._engine, host, self.life.phase_s)
        self._measured = await asyncio.to_thread(self.planner.measure, *measure)
        self.life.enter(State.READY)
        self._ready_at = time.monotonic()
        self.planner.recovery.served = True
        self._counting = asyncio.ensure_future(self.planner.count_service())

    async def _stand_by(self) -> None:
        """Has a second process made ready to take over, where that is wished for and there is room."""
        plan = self.planner.started
        assert plan is not None and self._command is not None  # noqa: S101, PT018 - it runs
        wish = self._settings.standby
        if self._standby is None and (wish == "on" or (wish == "auto" and has_room_for_standby(plan))):
            try:
                self._standby = await Standby.prepare(self._command)
            except OSError as error:  # it is not needed
                log.warning("No standby could be started: %s.", error)

    async def _end_standby(self) -> None:
        standby, self._standby = self._standby, None
        if standby is not None:
            await standby.stop()

    async def _come_up(self) -> None:
        """The first start, and further ones where the first may not have been the last word. Raises VedetteError."""
        try:
            await self._start()
        except EngineFailedError as error:
            await self._come_back(cause_of(error))

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
        if self._engine is None:  # the model that was to come has not come
            await self._bring_back()
        while True:
            await self._stand_by()
            assert self._engine is not None  # noqa: S101 - it serves
            await self._come_back(await self._engine.wait_until_dead())

    async def _come_back(self, cause: Cause) -> None:
        """Starts the engine again and again, with less memory where that was what it died of, until it serves.

        Raises EngineDiedError where it would only die the same way, DoesNotFitError where nothing fits any more.
        """
        while True:
            self.life.enter(State.FAILED, cause=cause)
            await self._stop_engine()
            if outlook_of(cause) is Outlook.SMALLER:  # what a standby holds is wanted now
                await self._end_standby()
            attempt = await self.planner.attempt_after(cause, self._served_s())
            await asyncio.sleep(attempt.delay_s)
            self.life.enter(State.PREPARING, Phase.PLANNING)
            try:
                if attempt.remake:
                    await self._make_host_ready()
                await self._start_with_room()
            except EngineFailedError as error:
                cause = cause_of(error)
            else:
                self.planner.tell_of_recovery()
                return

    async def _start_with_room(self) -> None:
        """`_start`, once there is room for it: a smaller model's, or what others hold and give back. Raises as it."""
        told = ""
        while True:
            try:
                await self._start()
            except DoesNotFitError as error:
                await self._end_standby()
                if self._settings.allow_smaller and await self._take_smaller():
                    continue
                attempt = await self.planner.attempt_without_room(error)
                if attempt.story != told:
                    told = attempt.story
                    self._notify(Note(Message("errors.verbatim", sentence=told, hint="")))
                    self.life.enter(State.FAILED, cause=cause_of(error))
                    self.life.enter(State.PREPARING, Phase.PLANNING)
                await asyncio.sleep(attempt.delay_s)
            else:
                return

    async def _take_smaller(self) -> bool:
        """Goes on with a smaller model of the family, if there is one that fits; until vedette ends."""
        assert self._source is not None and self._host is not None  # noqa: S101, PT018 - prepared before
        smaller = await self.planner.smaller_model(self._source, self._settings, self._host.version)
        if smaller is None:
            return False
        try:
            await self._fetch(smaller, self._host.python)
        except VedetteError as error:
            self._notify(Note(Message("deploy.smaller_not_fetched", model=smaller.name, error=error.message)))
            return False
        self._stands_in_for = tuple(self.names)
        self._source, self._settings = smaller, dataclasses.replace(self._settings, model=smaller.name)
        return True

    async def _change(self, order: _Order) -> None:
        """Serves the ordered model; where that does not come up, what was served before is to be brought back."""
        before = self._settings, self._source, self._stands_in_for, self.planner.recovery
        try:
            self.life.enter(State.DRAINING)
            await self._drain()
            await self._stop_engine()
            await self._end_unfinished()
            self._settings, self._source, self.planner.recovery = order.settings, order.source, Recovery()
            self._stands_in_for, self._ready_at = (), None
            self.life.enter(State.PREPARING, Phase.PLANNING)
            await self._come_up()
            order.done.set_result(None)
        except VedetteError as error:
            await self._stop_engine()
            failed = Message("deploy.did_not_start", model=order.source.name, error=error.message)
            self._settings, self._source, self._stands_in_for, self.planner.recovery = before
            _refuse(order, SwapFailedError("deploy.swap_failed", failed=failed, model=self.name, hint=error.hint))
            self._notify(Note(failed))
            self.life.enter(State.FAILED, cause=cause_of(error))
        finally:
            _refuse(order)

    async def _bring_back(self) -> None:
        """Starts what has served here before. Raises VedetteError when it dies too often or does not fit any more."""
        self.life.enter(State.PREPARING, Phase.PLANNING)
        try:
            await self._start_with_room()
        except EngineFailedError as error:
            await self._come_back(cause_of(error))

    async def _drain(self) -> None:
        """Waits until what is being answered is."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), DRAIN_S)

    def _served_s(self) -> float | None:
        """How long the engine had served that has just died; None if it never did."""
        ready_at, self._ready_at = self._ready_at, None
        return None if ready_at is None else time.monotonic() - ready_at

    async def _end_unfinished(self) -> None:
        """Ends what was being launched when the launch was broken off: no `Engine` yet."""
        if self._host is not None:
            await self._host.end()
        await asyncio.to_thread(end_processes, self._slot.workplace)

    async def _stop_engine(self) -> None:
        if self._counting is not None:
            self._counting.cancel()
        if self._engine is not None:
            engine, self._engine = self._engine, None
            if self._host is not None:
                await self._host.end()
            await engine.stop()


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
