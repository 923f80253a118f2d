"""Serves one model: plans it, starts its engine, restarts the engine after a crash, and swaps the model.

This is the only module that joins plan and engine. It uses neither terminal nor HTTP. One loop (`run`) moves the
deployment from stage to stage (stages.py). All other callers only read the state, or place an order (swap.py).
"""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NoReturn

from vedette.deploy.crash import Crash
from vedette.deploy.hosting import host_for
from vedette.deploy.learning import learn_lesson, learn_long_runs, learn_start
from vedette.deploy.planning import (
    Proposal,
    Subject,
    does_not_fit,
    plan_for,
    wish_of,
    with_engine_returned,
)
from vedette.deploy.proposing import choose, engine_facts, find_smaller, read_installed, recall_from
from vedette.deploy.recovery import Attempt
from vedette.deploy.served_model import ServedModel
from vedette.deploy.stages import Assignment, Chosen, Down, Launched, Prepared, Running, Starting
from vedette.deploy.standby_keeper import StandbyKeeper, wants_standby
from vedette.deploy.surroundings import Surroundings
from vedette.deploy.swap import Order
from vedette.deploy.trust_store import record_trust, trust_in
from vedette.device.device import Device
from vedette.engine.client import EngineClient
from vedette.engine.hosts.host import Host
from vedette.engine.process.workplace import end_processes, make_workplace
from vedette.engine.state import Phase, State
from vedette.engine.vllm.causes import Outlook, outlook_of
from vedette.errors import (
    Cause,
    EngineDiedError,
    EngineFailedError,
    EngineUnavailableError,
    SwapFailedError,
    VedetteError,
    cause_of,
)
from vedette.events import DeviceRead, ModelChosen, Note, Notify
from vedette.language.message import Message
from vedette.measure.decode_speed import read_decode_tokens_per_s
from vedette.models.model import Model
from vedette.models.store.model_fetching import fetch_model
from vedette.models.store.model_lookup import ModelRef
from vedette.plan.calibration import Calibration
from vedette.plan.deadlines import patience_for, start_limits
from vedette.plan.plan import Plan
from vedette.plan.side_by_side import Share
from vedette.settings.home import Home
from vedette.settings.log_sizes import engine_log_bytes
from vedette.settings.table import Settings
from vedette.tasks import first_of, in_own_thread, running

DRAIN_S = 60.0
"""How long a swap waits for running answers. Answers that take longer are cut off, as in a crash."""


class Deployment(ServedModel):
    """One served model and its engine. Implements the backend that the app serves (serve/backend.py)."""

    def __init__(self, settings: Settings, home: Home, url: str, notify: Notify, number: int = 1) -> None:
        super().__init__(url)
        self.share: Share | None = None
        """The part of the device that the engine may use; None for the whole device. Set before `run`."""
        self._settings = settings
        self._home = home
        self._slot = home.slot(number)
        self._log_bytes = engine_log_bytes(settings)
        self._notify = notify
        self._surroundings = Surroundings(home, notify)
        self._standby = StandbyKeeper()
        self._swapping = asyncio.Lock()
        self._last_start_s: Mapping[str, float] | None = None
        """Seconds of the last start by phase, of whatever model."""

    # Running, and what callers request

    async def run(self) -> None:
        """Start the model and serve it until cancelled. Raises VedetteError when the model cannot be served."""
        try:
            async with self._started() as stage:
                now: Prepared = stage
                while True:
                    now = await self._change_model(await self._serve_until_order(now))
        finally:
            self._orders.close()

    async def try_once(self) -> tuple[Plan, Calibration | None]:
        """Start the model, measure its start and speed, and stop it. Return the plan and the measurements.

        The measurements are None if they could not be taken. Raises VedetteError when the model cannot be started.
        """
        async with self._started() as stage:
            plan, measured = stage.proposal.plan, stage.measured
            speed = await read_decode_tokens_per_s(stage.engine.client, plan.context.answer_tokens)
            return plan, measured and dataclasses.replace(measured, decode_tokens_per_s=speed)

    async def swap(self, argument: str) -> None:
        """Serve another model instead of the present one; return once the new model answers.

        If the new model's files are missing, they are downloaded first, while the present model still answers. Raises
        SwapFailedError if the new model did not start: then the present model is started again. After any other
        VedetteError nothing has changed.
        """
        async with self._swapping:
            if self.abandoned:
                raise EngineFailedError("deploy.abandoned", model=self.name)
            settings = self._settings.for_another_model(argument)
            device = await self._surroundings.read()
            ref, model = await in_own_thread(choose, settings, self._home, device)
            if ref.name == self.name and self.client is not None:
                return
            assignment, stage = Assignment(settings, ref), self._stage
            if model is not None and isinstance(stage, Launched):
                free = with_engine_returned(device, stage.proposal.plan)
                self._refuse_what_does_not_fit(self._plan(Prepared(assignment, stage.host), free, model))
            if not ref.installed:
                await self._fetch(ref, stage.host.python if isinstance(stage, Prepared) else None)
            await self._orders.place(assignment)

    # The first start

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[Running]:
        """Start the engine, yield its stage once it is ready, and stop all its processes at the end."""
        try:
            self.life.enter(State.PREPARING, Phase.DETECTING)
            yield await self._start_now(await self._prepare())
        finally:
            self.life.enter(State.DRAINING)
            await self._standby.end()
            await self._stop_engine()
            await self._end_unfinished()
            self.life.enter(State.STOPPED)

    async def _prepare(self) -> Prepared:
        """Choose the model and the host, install the engine's software and download the model's files."""
        device = await self._surroundings.read()
        self._notify(DeviceRead(device))
        self.life.progress(Phase.CHOOSING)
        ref, model = await in_own_thread(choose, self._settings, self._home, device)
        assignment = Assignment(self._settings, ref)
        self._stage = Chosen(assignment)
        if model is None:  # an id that only a hub knows: a plan needs its files
            await self._fetch(ref, None)
            model = await in_own_thread(read_installed, ref)
        why = Message("deploy.as_asked") if self._settings.model else Message("deploy.best_that_fits")
        self._notify(ModelChosen(ref.name, model.weights_bytes, why))
        host = await host_for(device, self._settings, self._home, self._slot.workplace)
        self._stage = prepared = Prepared(assignment, host)
        # Check that the model fits before gigabytes are downloaded and installed.
        self._proposal = self._refuse_what_does_not_fit(self._plan(prepared, device, model))
        await self._make_host_ready(host)
        await self._fetch(ref, host.python)
        return prepared

    async def _make_host_ready(self, host: Host) -> None:
        self.life.progress(Phase.INSTALLING)
        await host.make_ready(lambda step: self.life.progress(Phase.INSTALLING, step))

    async def _fetch(self, ref: ModelRef, python: Path | None) -> None:
        async with contextlib.aclosing(fetch_model(ref, self._home.models, python)) as steps:
            async for step in steps:
                self.life.progress(Phase.FETCHING, step.detail, step.done_bytes, step.total_bytes)

    # Planning

    def _plan(self, prepared: Prepared, device: Device, model: Model, allowed: Device | None = None) -> Proposal:
        """Return a model's plan on `device`. allowed: the model's share of it, within the limits set by crashes."""
        assignment = prepared.assignment
        given = assignment.settings.trust_remote_code
        wish = dataclasses.replace(wish_of(assignment.settings), trust=trust_in(model, self._home, given=given))
        engine = engine_facts(prepared.host)
        subject = Subject(device, assignment.ref, model, wish, engine, self._home.cache)
        return plan_for(subject, recall_from(self._home), self._shared(device), allowed)

    def _shared(self, device: Device) -> Device:
        return device if self.share is None else self.share.of(device)

    def _refuse_what_does_not_fit(self, proposal: Proposal) -> Proposal:
        if not proposal.plan.fits:
            raise does_not_fit(proposal.plan)
        return proposal

    async def _plan_start(self, prepared: Prepared) -> Starting:
        """Plan the next start with the memory that is available now. The plan may not fit."""
        self.life.progress(Phase.PLANNING)
        assignment = prepared.assignment
        model = await in_own_thread(read_installed, assignment.ref)
        if assignment.settings.trust_remote_code:
            await in_own_thread(record_trust, model, self._home)
        needed = prepared.proposal.plan.memory.total_bytes if isinstance(prepared, Starting) else None
        device = await self._surroundings.prepare_start(model.weights_bytes, needed)
        known = self._shared(self._standby.returned_to(device))
        proposal = self._plan(prepared, device, model, assignment.recovery.within(known))
        return prepared.starting(proposal.on_socket(assignment.stands_in_for), known)

    # Starting

    async def _start_now(self, prepared: Prepared) -> Running:
        """Start the engine; try again after a crash that allows it. Raises DoesNotFitError if there is no room now."""
        starting = await self._plan_start(prepared)
        self._refuse_what_does_not_fit(starting.proposal)
        return await self._recover(await self._launch(starting))

    async def _start_with_room(self, prepared: Prepared) -> Running | Down:
        """Start the engine, if needed with a smaller model or after other programs have freed memory.

        Raises DoesNotFitError where waiting cannot help.
        """
        last_reason: Message | None = None
        while True:
            starting = await self._plan_start(prepared)
            if starting.proposal.plan.fits:
                return await self._launch(starting)
            await self._standby.end()
            smaller = await self._take_smaller(starting) if prepared.assignment.settings.allow_smaller else None
            if smaller is not None:
                prepared = self._stage = smaller
                continue
            error = does_not_fit(starting.proposal.plan)
            now = self._shared(await self._surroundings.read())
            attempt = prepared.assignment.recovery.attempt_without_room(error, starting.proposal.plan, now)
            if attempt.reason != last_reason:
                last_reason = attempt.reason
                self._notify(Note(last_reason))
                self.life.enter(State.FAILED, cause=cause_of(error))
                self.life.enter(State.PREPARING, Phase.PLANNING)
            await asyncio.sleep(attempt.delay_s)

    async def _launch(self, starting: Starting) -> Running | Down:
        """Start the engine once; return it ready or ended. Raises VedetteError where another attempt cannot help."""
        self._stage, self._proposal, self._plan_json = starting, starting.proposal, starting.proposal.as_json()
        plan, target, host = starting.proposal.plan, starting.proposal.target, starting.host
        command = host.command(plan, target)
        for event in starting.proposal.events:
            self._notify(event)
        self.life.enter(State.STARTING, Phase.LAUNCHING)
        make_workplace(command.workplace)
        client = EngineClient(command.workplace, target.served_name)
        try:
            engine = await self._standby.launch(command, self._slot.log, client, self.life, self._log_bytes)
            launched = self._stage = starting.launched(engine, command)
            await engine.wait_until_ready(plan.context, start_limits(plan, self._earlier_start(starting)))
        except EngineFailedError as error:
            if isinstance(error, EngineDiedError) and error.cause.code == "engine_broken":
                host.mark_broken()
            return await self._crashed(starting, cause_of(error))
        measured = await learn_start(launched, self.life, self._home)
        self._last_start_s = {phase.value: seconds for phase, seconds in self.life.phase_s.items()}
        stage = self._stage = launched.running(measured)
        self.life.enter(State.READY)
        stage.assignment.recovery.mark_served()
        return stage

    def _earlier_start(self, starting: Starting) -> Mapping[str, float] | None:
        """Return the seconds of an earlier start by phase: of this plan, else of another model on this machine."""
        calibration = starting.proposal.calibration
        return (calibration.phase_s if calibration else None) or self._last_start_s

    async def _crashed(self, stage: Starting, cause: Cause) -> Down:
        """Record the crash, stop the engine's remaining processes, and return the stage after the crash."""
        down = dataclasses.replace(stage.down(cause), broke_off=self.broke_off_lately())
        self.blames_request = None if outlook_of(cause) is Outlook.SMALLER else False
        self.life.enter(State.FAILED, cause=cause)
        await self._stop_engine(cause)
        if outlook_of(cause) is Outlook.SMALLER:  # the next attempt needs the standby's memory
            await self._standby.end()
        self._stage = down
        return down

    async def _recover(self, stage: Running | Down) -> Running:
        """Restart the engine until it is ready, with a smaller plan if memory ran out.

        Raises EngineDiedError where the next attempt would fail in the same way, DoesNotFitError where no plan fits any
        more.
        """
        if isinstance(stage, Running):
            return stage
        while isinstance(stage, Down):
            attempt = await self._attempt_after(stage)
            await asyncio.sleep(attempt.delay_s)
            self.life.enter(State.PREPARING, Phase.PLANNING)
            if attempt.remake:
                await self._make_host_ready(stage.host)
            stage = await self._start_with_room(stage)
        note = stage.assignment.recovery.recovered(stage.proposal.plan, time.time())
        if note is not None:
            self._notify(note)
        return stage

    async def _attempt_after(self, down: Down) -> Attempt:
        """Return the next attempt after a crash and record its lesson. Raises EngineDiedError if there is none."""
        recovery, plan = down.assignment.recovery, down.proposal.plan
        after = self._shared(await self._surroundings.read())
        attempt = recovery.attempt_after(Crash(down.cause, plan, down.known, after, down.served_s, down.broke_off))
        self.blames_request = recovery.blames_request
        if attempt.lesson is not None and not await learn_lesson(down.proposal, attempt.lesson, self._home):
            recovery.limit_to(attempt.lesson)
        return attempt

    async def _take_smaller(self, starting: Starting) -> Prepared | None:
        """Choose and download a smaller model of the family, for the rest of this run; None if none fits or arrives."""
        assignment, proposal = starting.assignment, starting.proposal
        device = assignment.recovery.within(self._shared(await self._surroundings.read()))
        searched = (assignment.ref, proposal.wish, device, self._home, proposal.engine.traits)
        smaller = await in_own_thread(find_smaller, *searched)
        if smaller is None:
            return None
        try:
            await self._fetch(smaller, starting.host.python)
        except VedetteError as error:
            self._notify(Note(Message("deploy.smaller_not_fetched", model=smaller.name, error=error.message)))
            return None
        settings = assignment.settings.for_another_model(smaller.name)
        return starting.assigned(Assignment(settings, smaller, assignment.names, assignment.recovery))

    # Serving, and swapping the model

    async def _serve_until_order(self, stage: Prepared) -> Order:
        """Serve the model until a swap is ordered; return the order. Raises VedetteError if it crashes too often."""
        order = await first_of(self._orders.next(), self._keep_running(stage))
        return order or await self._orders.next()  # `order` is never None: `_keep_running` does not return

    async def _keep_running(self, stage: Prepared) -> NoReturn:
        """Restart the engine whenever it ends."""
        if not isinstance(stage, Running):  # a swap failed: the model before it is not running
            self.life.enter(State.PREPARING, Phase.PLANNING)
            stage = await self._recover(await self._start_with_room(stage))
        while True:
            beside = [self._standby.keep(stage.command)] if wants_standby(stage) else []
            async with running(learn_long_runs(stage, self._home), *beside):
                patience = patience_for(stage.proposal.plan, stage.engine.decode_tokens_per_s)
                cause = await stage.engine.wait_until_dead(patience, stage.host.processes)
            stage = await self._recover(await self._crashed(stage, cause))

    async def _change_model(self, order: Order) -> Prepared:
        """Start the ordered model and return its stage; if it fails, the old model's stage, not started."""
        before = self._prepared()
        self._leaving = before.assignment.names
        try:
            self.life.enter(State.DRAINING)
            await self.drain(DRAIN_S)
            await self._stop_engine()
            await self._end_unfinished()
            self._stage = prepared = before.assigned(order.assignment)
            self.life.enter(State.PREPARING, Phase.PLANNING)
            stage = await self._start_now(prepared)
            order.succeed()
        except VedetteError as error:
            await self._stop_engine()
            self._stage = before = before.assigned(before.assignment)
            failed = Message("deploy.did_not_start", model=order.assignment.ref.name, error=error.message)
            order.fail(SwapFailedError("deploy.swap_failed", failed=failed, model=self.name, hint=error.hint))
            self._notify(Note(failed))
            self.life.enter(State.FAILED, cause=cause_of(error))
            return before
        finally:
            self._leaving = ()
        return stage

    def _prepared(self) -> Prepared:
        """Return the present stage. Raises EngineUnavailableError before a model is prepared."""
        if not isinstance(self._stage, Prepared):
            raise EngineUnavailableError("deploy.not_prepared")
        return self._stage

    # Stopping

    async def _stop_engine(self, cause: Cause | None = None) -> None:
        """Stop the engine, if one runs. cause: why; requests in progress end with it, and at once."""
        stage = self._stage
        if isinstance(stage, Launched):
            self._stage = stage.assigned(stage.assignment)
            await stage.engine.client.close(cause)
            await stage.host.end()
            await stage.engine.stop()

    async def _end_unfinished(self) -> None:
        """Stop the processes of a launch that was cancelled before its `Engine` was created."""
        if isinstance(self._stage, Prepared):
            await self._stage.host.end()
        await asyncio.to_thread(end_processes, self._slot.workplace)
