"""The machine around one engine: read again for each plan; each finding is reported once."""

import asyncio

from vedette.deploy import proposing
from vedette.device.device import Device
from vedette.device.findings import check
from vedette.events import Note, Notify
from vedette.settings.home import Home


class Surroundings:
    """The machine as one deployment sees it."""

    def __init__(self, home: Home, notify: Notify) -> None:
        self._home = home
        self._notify = notify
        self._noted: set[str] = set()

    async def read(self) -> Device:
        """The machine now."""
        return await asyncio.to_thread(proposing.read_machine, self._home)

    async def prepare_start(self, weights_bytes: int, needed_bytes: int | None) -> Device:
        """The machine now, its page cache dropped where that stands in the way and is permitted.

        needed_bytes: memory of the last plan; None where there was none. Each finding is reported once.
        """
        device = await self.read()
        found = await check(device, weights_bytes, needed_bytes)
        for finding in found:
            if finding.code not in self._noted:
                self._noted.add(finding.code)
                self._notify(Note(finding.message, finding.code, finding.size_bytes))
        return await self.read() if any(finding.code == "page_cache_dropped" for finding in found) else device
