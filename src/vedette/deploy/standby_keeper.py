"""The standby beside a deployment's engine: when one is prepared, how the engine takes its place, when it ends."""

import logging
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


class StandbyKeeper:
    """Keeps at most one standby for a deployment."""

    def __init__(self) -> None:
        self._standby: Standby | None = None

    async def prepare(self, stage: Running) -> None:
        """Start a standby if none exists and the setting is `on`, or is `auto` and there is room."""
        wish = stage.assignment.settings.standby
        if self._standby is None and (wish == "on" or (wish == "auto" and has_room_for_standby(stage.proposal.plan))):
            try:
                self._standby = await Standby.prepare(stage.command)
            except OSError as error:  # the engine also runs without a standby
                log.warning("No standby could be started: %s", error)

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
