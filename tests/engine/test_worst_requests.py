"""The worst requests of each kind at once, to a vedette in a memory cgroup of its plan's size: nobody notices."""

import asyncio
import io
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.rig.cgroup import Cgroup
from tests.rig.chat import CHAT, ask, image_part, question
from tests.rig.costly_requests import Sent, costly_requests
from tests.rig.processes import Vedette, start_vedette, stop_process
from vedette.scene import moving_scene

MIB = 2**20
LIMIT_BYTES = 1120 * MIB
"""The plan is 966 MiB; vedette itself runs in the cgroup too."""
SERVED_WITHIN_S = 60.0

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/sys/fs/cgroup/memory").is_dir(), reason="needs root and memory cgroups, version 1"
)


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    cgroup = Cgroup(LIMIT_BYTES)
    yield cgroup
    cgroup.remove()


@pytest.fixture
async def confined(own_home: Path, cgroup: Cgroup) -> AsyncIterator[Vedette]:
    vedette = start_vedette(own_home, ("vedette-tiny", "--standby", "off"), cgroup=cgroup, stderr=own_home / "stderr")
    try:
        await asyncio.to_thread(vedette.wait_until_ready)
        yield vedette
    finally:
        stop_process(vedette.process)


def honest_requests() -> Iterator[Sent]:
    """As many requests as the plan allows at once, each with as many pictures and as much text."""
    for number in range(4):
        body = question(image_part(number), image_part(number + 4), text="word " * 300, max_tokens=300)
        yield Sent("all that is planned", CHAT, json.dumps(body).encode())


async def send(running: Vedette, sent: Sent) -> tuple[str, int, str]:
    timeout = aiohttp.ClientTimeout(total=SERVED_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            headers = {"Content-Type": "application/json"} | sent.headers
            async with session.post(running.url + sent.path, data=io.BytesIO(sent.body), headers=headers) as answer:
                return sent.name, answer.status, await answer.text()
        except aiohttp.ClientError as error:  # refused before the whole body was sent
            return sent.name, 0, type(error).__name__


async def test_the_worst_of_each_kind_at_once_kills_nothing_and_keeps_nobody_out(
    confined: Vedette, cgroup: Cgroup
) -> None:
    status = confined.status()
    pid, memory = status["engine_pid"], status["plan"]["memory"]
    assert 0.8 * LIMIT_BYTES < memory["total_bytes"] <= LIMIT_BYTES
    sending = [asyncio.ensure_future(send(confined, each)) for each in (*costly_requests(), *honest_requests())]
    waited: list[float] = []
    while not all(each.done() for each in sending) or len(waited) < 3:
        began = time.monotonic()
        seed = 20 + len(waited)
        code, answer = await asyncio.wait_for(ask(confined, question(image_part(seed))), SERVED_WITHIN_S)
        assert code == 200, answer
        assert answer["choices"][0]["message"]["content"].strip() == moving_scene(seed, 0.0).describe()
        waited.append(time.monotonic() - began)
    answers = [each.result() for each in sending]
    assert cgroup.killed == 0
    assert confined.status()["engine_pid"] == pid
    assert not [(name, text) for name, status, text in answers if status >= 500 and status != 503]
    assert [text for name, code, text in answers if name == "all that is planned" and code != 200] == []
    assert "Traceback" not in confined.stderr_text
