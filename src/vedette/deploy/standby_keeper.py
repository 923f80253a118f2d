"""The standby beside a deployment's engine: when one is prepared, how the engine takes its place, when it ends."""

import asyncio
import logging
import time
from pathlib import Path

from vedette.deploy.planning import with_process_returned
from vedette.deploy.stages import Running
from vedette.device.device import Device
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine
from vedette.engine.process.process_command import Command
from vedette.engine.process.standby import Standby
from vedette.engine.state import Life
from vedette.plan.standby_room import has_room_for_standby

log = logging.getLogger(__name__)


REPLACE_AFTER_S = 10.0
"""The wait before a standby that has ended is replaced; doubled each time, as something may keep ending it."""
_LONGEST_WAIT_S = 600.0


def wants_standby(stage: Running) -> bool:
    """Whether an engine shall have a standby: the setting is `on`, or is `auto` and there is room."""
    wish = stage.assignment.settings.standby
    return wish == "on" or (wish == "auto" and has_room_for_standby(stage.proposal.plan))


class StandbyKeeper:
    """Keeps at most one standby for a deployment."""

    def __init__(self, replace_after_s: float = REPLACE_AFTER_S) -> None:
        self._standby: Standby | None = None
        self._replace_after_s = replace_after_s

    async def keep(self, command: Command) -> None:
        """Keep a standby for engines of this command until cancelled: one that ends is replaced after a while.

        Return at once if the command can have none.
        """
        wait_s = self._replace_after_s
        while True:
            if self._standby is None:
                self._standby = await _prepare(command)
            if self._standby is None:
                return
            began = time.monotonic()
            await self._standby.wait_until_ended()
            await self.end()
            lived_s = time.monotonic() - began
            wait_s = self._replace_after_s if lived_s > _LONGEST_WAIT_S else wait_s
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def returned_to(self, device: Device) -> Device:
        """Return the device with the standby's memory free: at the next launch it becomes the engine or ends."""
        return device if self._standby is None else with_process_returned(device, self._standby.memory_bytes())

    async def launch(
        self, command: Command, log_file: Path, client: EngineClient, life: Life, log_bytes: int
    ) -> Engine:
        """Start an engine, in the standby's process where that fits. Once it has started, no standby is left."""
        engine = await Engine.launch(command, log_file, client, life, self._standby, log_bytes)
        self._standby = None  # it is the engine now or has ended
        return engine

    async def end(self) -> None:
        """Stop the standby, if one exists."""
        standby, self._standby = self._standby, None
        if standby is not None:
            await standby.stop()


async def _prepare(command: Command) -> Standby | None:
    try:
        return await Standby.prepare(command)
    except OSError as error:  # the engine also runs without a standby
        log.warning("No standby could be started: %s", error)
        return None
