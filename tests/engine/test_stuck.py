"""Real engines that stop working, or never begin to: this is noticed, said, and what served before serves again."""

import asyncio
import json
import shutil
import signal
import time
from pathlib import Path

import aiohttp
import psutil

from tests.rig.chat import CHAT, ask, question
from tests.rig.processes import Vedette, run_vedette, vedette_running
from vedette.engine.process.workplace import find_processes
from vedette.models.store.model_lookup import packaged_path


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


async def test_a_model_whose_chat_template_never_ends_is_given_up_and_the_old_one_comes_back(
    own_home: Path, tmp_path: Path
) -> None:
    endless = tmp_path / "endless"
    shutil.copytree(packaged_path("vedette-tiny"), endless)
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (endless / "chat_template.jinja").write_text(loop)
    with vedette_running(own_home) as vedette:
        vedette.wait_until_ready()
        began = time.monotonic()
        swapping = asyncio.create_task(asyncio.to_thread(run_vedette, own_home, "swap", str(endless), "--json"))
        await asyncio.to_thread(vedette.wait_for, lambda event: event.get("plan", {}).get("model") == "endless", 60)
        status, answer = await ask(vedette, question())  # waits as long as requests may wait
        assert status in (200, 503), answer
        failed = await asyncio.wait_for(swapping, 300)
        assert "engine.never_opened" in failed.stdout
        assert await asyncio.to_thread(vedette.ready, 120, began) is not None
        assert (await ask(vedette, question()))[0] == 200
