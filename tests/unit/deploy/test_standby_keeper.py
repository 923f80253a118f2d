"""A standby that ends is replaced, with real processes."""

import asyncio
import os
import sys
from pathlib import Path

import psutil

from vedette.deploy.standby_keeper import StandbyKeeper
from vedette.engine.process.process_command import Command, Preload
from vedette.engine.process.workplace import find_processes
from vedette.tasks import running

WITHIN_S = 20


def command(tmp_path: Path) -> Command:
    preload = Preload(("json",), forks=False)
    return Command((sys.executable, "serve"), {"PATH": os.environ["PATH"]}, tmp_path / "engine", preload=preload)


async def standby_of(tmp_path: Path, but: int | None = None) -> psutil.Process:
    """The standby, once there is one whose number is another than `but`."""

    async def find() -> psutil.Process:
        while True:
            for process in await asyncio.to_thread(find_processes, tmp_path / "engine-standby"):
                if process.pid != but:
                    return process
            await asyncio.sleep(0.05)

    return await asyncio.wait_for(find(), WITHIN_S)


async def test_a_standby_that_is_killed_is_replaced_and_none_is_left_in_the_end(tmp_path: Path) -> None:
    keeper = StandbyKeeper(replace_after_s=0.05)
    async with running(keeper.keep(command(tmp_path))):
        first = await standby_of(tmp_path)
        first.kill()
        second = await standby_of(tmp_path, but=first.pid)
        assert second.is_running()
    await keeper.end()
    assert find_processes(tmp_path / "engine-standby") == []


async def test_a_command_that_can_have_no_standby_is_left_alone(tmp_path: Path) -> None:
    await asyncio.wait_for(StandbyKeeper().keep(Command(("/bin/true",), {}, tmp_path / "engine")), WITHIN_S)
