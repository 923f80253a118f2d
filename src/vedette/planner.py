"""Plans for one engine of this machine: with the memory of the moment, its share of it, and what starts have taught."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

from vedette.config import Home, Settings
from vedette.device.facts import Device
from vedette.device.read import read_device
from vedette.engine.engine import Engine
from vedette.engine.flags import engine_traits
from vedette.engine.host import Host
from vedette.engine.state import Phase
from vedette.errors import DeviceError
from vedette.measure.calibration import measured_start, record_start
from vedette.models.facts import Model
from vedette.plan.calibration import Calibration, calibration_key
from vedette.plan.make import make_plan
from vedette.plan.pack import Share
from vedette.plan.plan import Plan
from vedette.preflight import check
from vedette.proposal import calibration_for, calibrations, does_not_fit, read_machine, wish_for, wish_of

Tell = Callable[[Mapping[str, Any]], None]
"""Receives each finding (`{"event": "device" | "model" | "plan" | "note", …}`) as it is made."""

log = logging.getLogger(__name__)


class Planner:
    """Knows the home whose records it reads and writes, and what was said already."""

    def __init__(self, home: Home, tell: Tell) -> None:
        self.share: Share | None = None
        """What the engine may take of the device; None where it is alone there."""
        self._home = home
        self._tell = tell
        self._noted: set[str] = set()

    async def look(self) -> Device:
        """The machine as it is now."""
        return await asyncio.to_thread(read_machine, self._home)

    async def clear_the_way(self, model: Model, planned_bytes: int | None) -> Device:
        """The machine as it is now; what stands in the engine's way is said, once each, and let go of if allowed.

        planned_bytes: what an earlier plan of this model takes.
        """
        device = await self.look()
        found = await check(device, model.weights_bytes, planned_bytes)
        for finding in found:
            if finding.code not in self._noted:
                self._noted.add(finding.code)
                self._tell(finding.as_event())
        return await self.look() if any(finding.code == "page_cache_dropped" for finding in found) else device

    def plan(
        self, settings: Settings, device: Device, model: Model, version: str, budget_bytes: int | None = None
    ) -> Plan:
        """The plan of a model for that version of vLLM; with `budget_bytes` at the most, if not None.

        Raises DoesNotFitError.
        """
        wish = wish_for(model, wish_of(settings))
        calibration = calibration_for(device, model, wish, self._home, version)
        if self.share is not None:
            device = self.share.of(device)
        if budget_bytes is not None:
            available = min(budget_bytes, device.memory_available_bytes)
            device = dataclasses.replace(device, memory_available_bytes=available)
        plan = make_plan(device, model, wish, calibration=calibration, engine=engine_traits(version))
        if not plan.fits:
            raise does_not_fit(plan)
        return plan

    def measure(
        self, device: Device, model: Model, plan: Plan, engine: Engine, host: Host, phase_s: Mapping[Phase, float]
    ) -> Calibration | None:
        """What a start took, kept for the next plan; never fails.

        device: as it was before; engine: just ready, and with nobody's requests, which would count as the start's;
        phase_s: how long it was in each phase.
        """
        key = calibration_key(device, model, plan.settings, host.version)
        try:
            taken = device.memory_available_bytes - read_device().memory_available_bytes
            measured = measured_start(key, plan, engine, phase_s, host.processes(), taken)
            record_start(calibrations(self._home), measured)
        except (OSError, DeviceError) as error:
            log.warning("What this start took is not kept: %s.", error)
            return None
        return measured


def once_stopped(device: Device, plan: Plan) -> Device:
    """The device with what an engine takes given back, as far as its plan tells."""
    memory = plan.memory
    free = device.memory_available_bytes + memory.total_bytes - memory.reserve_bytes
    host = device.host_memory_available_bytes
    return dataclasses.replace(
        device,
        memory_available_bytes=min(device.memory_total_bytes, free),
        host_memory_available_bytes=None if host is None else host + memory.host_bytes,
    )
