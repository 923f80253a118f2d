"""What starts, crashes and long runs teach, kept for later plans. Nothing here fails: what cannot be kept is logged."""

import asyncio
import logging

from vedette.deploy import proposing
from vedette.deploy.calibration_store import (
    calibrations_of,
    measured_start,
    record_lesson,
    record_service,
    record_start,
)
from vedette.deploy.planning import Proposal
from vedette.deploy.recovery import LONG_RUN_S
from vedette.deploy.stages import Launched, Running
from vedette.engine.state import Life
from vedette.errors import DeviceError
from vedette.plan.calibration import Calibration, Lesson, conditions_of
from vedette.settings.home import Home

log = logging.getLogger(__name__)


async def learn_start(launched: Launched, life: Life, home: Home) -> Calibration | None:
    """What the start took, recorded for the next plan; None if it cannot be measured.

    launched: its engine is just ready and has answered nobody yet, whose request would count as the start's.
    """
    return await asyncio.to_thread(_measure, launched, life, home)


def _measure(launched: Launched, life: Life, home: Home) -> Calibration | None:
    proposal, processes = launched.proposal, launched.host.processes()
    try:
        taken = launched.proposal.device.memory_available_bytes - proposing.read_machine(home).memory_available_bytes
        measured = measured_start(
            proposal.key, proposal.plan, launched.engine, life.phase_s, processes, taken_bytes=taken
        )
        record_start(calibrations_of(home), measured)
    except (OSError, DeviceError) as error:
        log.warning("The measurement of this start was not recorded: %s", error)
        return None
    return measured


async def learn_long_runs(running: Running, home: Home) -> None:
    """Counts a long run against lessons about memory; cancel it when the engine ends."""
    await asyncio.sleep(LONG_RUN_S)
    try:
        await asyncio.to_thread(record_service, calibrations_of(home), running.proposal.key)
    except OSError as error:
        log.warning("The long run of this engine was not recorded: %s", error)


async def learn_lesson(proposal: Proposal, lesson: Lesson, home: Home) -> bool:
    """Records a lesson for every later plan; False if it cannot be written."""
    directory, conditions = calibrations_of(home), conditions_of(proposal.plan.settings)
    try:
        await asyncio.to_thread(record_lesson, directory, proposal.key, conditions, lesson)
    except OSError as error:
        log.warning("The lesson of this crash was not recorded: %s", error)
        return False
    return True
