"""An engine that is stopped in the middle of its work: said within ten seconds, and replaced; real vLLM."""

import asyncio
import json
import signal
import time
from pathlib import Path

import aiohttp
import psutil

from tests.rig.chat import CHAT, question
from tests.rig.processes import Vedette, vedette_running
from vedette.engine.process.workplace import find_processes


def core_of(vedette: Vedette) -> psutil.Process:
    (core,) = (each for each in find_processes(vedette.home / "run") if each.name().startswith("VLLM::EngineCor"))
    return core


async def read_until_it_ends(vedette: Vedette, begun: asyncio.Event) -> str:
    """The text of an answer that never ends by itself."""
    body = question(text="Count for ever.", stream=True, max_tokens=1000, ignore_eos=True)
    text = ""
    async with (
        aiohttp.ClientSession() as session,
        session.post(vedette.url + CHAT, json=body) as answer,
    ):
        async for line in answer.content:
            text += line.decode()
            begun.set()
    return text


async def test_a_stopped_core_is_noticed_while_somebody_waits_and_is_replaced(own_home: Path) -> None:
    with vedette_running(own_home) as vedette:
        vedette.wait_until_ready()
        begun = asyncio.Event()
        reading = asyncio.create_task(read_until_it_ends(vedette, begun))
        await asyncio.wait_for(begun.wait(), 30)
        core = core_of(vedette)
        core.send_signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        text = await asyncio.wait_for(reading, 30)
        assert time.monotonic() - stopped_at < 10
        error = json.loads(text.strip().splitlines()[-1].removeprefix("data: "))["error"]
        assert error["detail"]["code"] == "engine.stuck"
        assert vedette.ready(within_s=120, after=stopped_at) is not None
        assert not core.is_running()
