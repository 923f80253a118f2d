"""The plans of one engine: with the memory of the moment, its share of it, and what starts and deaths have taught."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import Any

from vedette.deploy.calibration_store import measured_start, record_lesson, record_service, record_start
from vedette.deploy.proposal import calibration_for, calibrations, does_not_fit, read_machine, wish_for, wish_of
from vedette.deploy.recovery import LONG_SERVICE_S, Attempt, Fall, Recovery
from vedette.device.device import Device
from vedette.device.findings import check
from vedette.engine.engine import Engine
from vedette.engine.hosts.host import Host
from vedette.engine.state import Phase
from vedette.engine.vllm.flags import engine_traits, substitutes
from vedette.errors import Cause, DeviceError, DoesNotFitError
from vedette.events import Event, Note, Notify, PlanMade
from vedette.models.model import Model
from vedette.models.store.model_catalogue import smaller_of_family
from vedette.models.store.model_lookup import Source, candidates
from vedette.plan.calibration import Calibration, Key, calibration_key, conditions_of
from vedette.plan.choose import choose_smaller
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan
from vedette.plan.side_by_side import Share
from vedette.report.concession import concession_notes
from vedette.settings.home import Home
from vedette.settings.table import Settings

log = logging.getLogger(__name__)


class Planner:
    """Plans for one place on this machine, where one model runs at a time."""

    def __init__(self, home: Home, notify: Notify) -> None:
        self.share: Share | None = None
        """What the engine may take of the device; None where it is alone there."""
        self.recovery = Recovery()
        """What deaths of the present model's engine have taught; another model begins anew."""
        self.started: Plan | None = None
        """The last plan that was made to be started."""
        self._refused: Plan | None = None
        """The least of use, where not even that found room."""
        self._device: Device | None = None
        """What `started` was made for."""
        self._key: Key | None = None
        """Under which what `started` teaches is kept."""
        self._home = home
        self._notify = notify
        self._noted: set[str] = set()

    async def look(self) -> Device:
        """The machine as it is now."""
        return await asyncio.to_thread(read_machine, self._home)

    async def clear_the_way(self, model: Model) -> Device:
        """The machine as it is now; what stands in the engine's way is said, once each, and let go of if allowed."""
        device = await self.look()
        found = await check(device, model.weights_bytes, self.started.memory.total_bytes if self.started else None)
        for finding in found:
            if finding.code not in self._noted:
                self._noted.add(finding.code)
                self._notify(Note(finding.message, finding.code, finding.size_bytes))
        return await self.look() if any(finding.code == "page_cache_dropped" for finding in found) else device

    def plan(self, settings: Settings, device: Device, model: Model, version: str) -> Plan:
        """The plan of a model for that version of vLLM, if it were started. Raises DoesNotFitError."""
        plan = self._planned(settings, self._shared(device), self._shared(device), model, version)
        if not plan.fits:
            raise does_not_fit(plan)
        return plan

    def plan_start(self, settings: Settings, device: Device, model: Model, version: str) -> Plan:
        """As `plan`, of what is started next: heeds what deaths have taught."""
        self._device = shared = self._shared(device)
        plan = self._planned(settings, shared, self.recovery.within(shared), model, version)
        if not plan.fits:
            self._refused = plan
            raise does_not_fit(plan)
        self.started = plan
        self._key = calibration_key(shared, model, plan.settings, version)
        return plan

    def measure(self, before: Device, engine: Engine, host: Host, phase_s: Mapping[Phase, float]) -> Calibration | None:
        """What the start took, kept for the next plan; never fails.

        before: the machine then; engine: just ready, and with nobody's requests, which would count as the start's;
        phase_s: how long it was in each phase.
        """
        assert self.started is not None and self._key is not None  # noqa: S101, PT018 - it was started
        try:
            taken = before.memory_available_bytes - read_machine(self._home).memory_available_bytes
            measured = measured_start(self._key, self.started, engine, phase_s, host.processes(), taken)
            record_start(calibrations(self._home), measured)
        except (OSError, DeviceError) as error:
            log.warning("What this start took is not kept: %s.", error)
            return None
        return measured

    async def count_service(self) -> None:
        """Lets a long service count against lessons of too little memory; to be cancelled when the engine ends."""
        await asyncio.sleep(LONG_SERVICE_S)
        assert self._key is not None  # noqa: S101 - it was started
        try:
            await asyncio.to_thread(record_service, calibrations(self._home), self._key)
        except OSError as error:
            log.warning("That the engine has served for long is not kept: %s.", error)

    async def attempt_after(self, cause: Cause, served_s: float | None) -> Attempt:
        """What to do after the started plan's engine has died, its lesson kept; nothing of it is left by now.

        served_s: None if it was never ready. Raises EngineDiedError where nothing is left to do.
        """
        assert self.started is not None and self._device is not None and self._key is not None  # noqa: S101, PT018
        after = self._shared(await self.look())
        attempt = self.recovery.attempt_after(Fall(cause, self.started, self._device, after, served_s))
        if attempt.lesson is not None:
            conditions = conditions_of(self.started.settings)
            try:
                directory = calibrations(self._home)
                await asyncio.to_thread(record_lesson, directory, self._key, conditions, attempt.lesson)
            except OSError as error:
                log.warning("What the engine died of is not kept for later starts: %s.", error)
                self.recovery.keep_to(attempt.lesson)
        return attempt

    async def attempt_without_room(self, error: DoesNotFitError) -> Attempt:
        """When to look again whether there is room. Raises DoesNotFitError where that is of no use."""
        assert self._refused is not None  # noqa: S101 - it did not fit
        return self.recovery.attempt_without_room(error, self._refused, self._shared(await self.look()))

    def tell_of_recovery(self) -> None:
        """Says with what it serves again, and why."""
        assert self.started is not None  # noqa: S101 - it was started
        self._notify(self.recovery.recovered(self.started, time.time()))

    async def smaller_model(self, source: Source, settings: Settings, version: str) -> Source | None:
        """A smaller model of the family that there is room for, one that is here before one to be fetched."""
        names = smaller_of_family(source.name)
        found = [each for each in await asyncio.to_thread(candidates, self._home.models) if each[0].name in names]
        found.sort(key=lambda each: not each[0].installed)
        device = self.recovery.within(self._shared(await self.look()))
        chosen = choose_smaller(device, found, wish_of(settings), engine_traits(version))
        return chosen and chosen[0]

    def _shared(self, device: Device) -> Device:
        return device if self.share is None else self.share.of(device)

    def _planned(self, settings: Settings, known: Device, allowed: Device, model: Model, version: str) -> Plan:
        """known: the device whose records count; allowed: the same with what the plan may take of it."""
        wish = wish_for(model, wish_of(settings))
        calibration = calibration_for(known, model, wish, self._home, version)
        return make_plan(allowed, model, wish, calibration=calibration, engine=engine_traits(version))


def with_memory(device: Device, plan: Plan) -> Device:
    """The device with what a running engine takes given back, as far as its plan tells."""
    memory = plan.memory
    free = device.memory_available_bytes + memory.total_bytes - memory.reserve_bytes
    host = device.host_memory_available_bytes
    return dataclasses.replace(
        device,
        memory_available_bytes=min(device.memory_total_bytes, free),
        host_memory_available_bytes=None if host is None else host + memory.host_bytes,
    )


def with_host_memory(device: Device, more_bytes: int) -> Device:
    """The device with more of the memory that processes live in."""
    if device.host_memory_available_bytes is None:
        return dataclasses.replace(device, memory_available_bytes=device.memory_available_bytes + more_bytes)
    return dataclasses.replace(device, host_memory_available_bytes=device.host_memory_available_bytes + more_bytes)


def plan_events(plan: Plan, document: Mapping[str, Any]) -> list[Event]:
    """What is told of a plan that is about to run; document: its JSON."""
    notes = (*concession_notes(plan), *substitutes(plan.settings, document["engine"]["version"]))
    return [PlanMade(document), *map(Note, notes)]
