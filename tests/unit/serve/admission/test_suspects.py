"""A request that made the engine run out of memory gets that error and is refused for a while; others may retry."""

import asyncio
import base64
from typing import Any

import aiohttp
import pytest

from tests.rig.stand_ins.app_stand_in import CONTEXT, Deployment, Upstream, jpeg_of_size
from vedette.engine.state import State
from vedette.engine.vllm.causes import KERNEL_KILL
from vedette.errors import CostlyRequestError
from vedette.serve.admission.admission import Admitted
from vedette.serve.admission.suspects import REFUSED_S, Suspects

CHAT = "/v1/chat/completions"


def asking(text: str, picture: bytes | None = None) -> dict[str, Any]:
    content: list[dict[str, object]] = [{"type": "text", "text": text}]
    if picture is not None:
        url = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
        content.append({"type": "image_url", "image_url": {"url": url}})
    return {"messages": [{"role": "user", "content": content}]}


async def ask(http: aiohttp.ClientSession, url: str, body: object) -> tuple[int, str]:
    async with http.post(f"{url}{CHAT}", json=body) as answer:
        return answer.status, await answer.text()


async def end_of_engine(deployment: Deployment, upstream: Upstream, blames_request: bool) -> None:
    """The engine ends for lack of memory, and comes back a moment later."""
    deployment.blames_request = None
    deployment.enter(State.FAILED, cause=KERNEL_KILL)
    upstream.fails = None
    await asyncio.sleep(0.1)
    deployment.blames_request = blames_request
    await asyncio.sleep(0.2)
    deployment.enter(State.READY)


@pytest.mark.parametrize("blames_request", [True, False])
async def test_the_picture_that_the_engine_ended_with_is_refused_afterwards(
    http: aiohttp.ClientSession, url: str, deployment: Deployment, upstream: Upstream, blames_request: bool
) -> None:
    upstream.fails = "EngineCore encountered an issue"
    first = asyncio.ensure_future(ask(http, url, asking("What?", jpeg_of_size())))
    second = asyncio.ensure_future(ask(http, url, asking("Why?" * 9)))
    for _ in range(500):
        if len(upstream.bodies) == 2:  # as many as an engine that answers one at a time gets
            break
        await asyncio.sleep(0.01)
    await end_of_engine(deployment, upstream, blames_request)
    status, text = await first
    assert (status, "ran out of memory while it answered this request" in text) == (
        (413, True) if blames_request else (503, False)
    )
    assert (await second)[0] == 503
    status, text = await ask(http, url, asking("Another question about it", jpeg_of_size()))
    assert (status, "a short time ago" in text) == ((413, True) if blames_request else (200, False))
    assert (await ask(http, url, asking("Another picture", jpeg_of_size(160, 120))))[0] == 200
    assert (await ask(http, url, asking("Why?" * 9)))[0] == 200


async def test_a_stream_that_broke_off_says_why(
    http: aiohttp.ClientSession, url: str, deployment: Deployment, upstream: Upstream
) -> None:
    upstream.dies = True
    answer = asyncio.ensure_future(ask(http, url, asking("What?") | {"stream": True}))
    await upstream.streaming.wait()
    await end_of_engine(deployment, upstream, blames_request=True)
    assert "ran out of memory while it answered this request" in (await answer)[1].splitlines()[-2]


def died(suspects: Suspects, engine: object, *requests: Admitted) -> list[bool]:
    """Which of the requests is to blame for an engine's end."""
    watched = [suspects.watch(engine, each) for each in requests]
    in_flight = [each.__enter__() for each in watched]
    for each in in_flight:
        each.break_off()
    blamed = [suspects.is_to_blame(engine, each) for each in in_flight]
    for context in watched:
        context.__exit__(None, None, None)
    return blamed


class Engine:
    """An engine that can be forgotten."""


def test_who_was_in_flight_at_two_deaths_is_blamed_and_forgotten_after_a_while() -> None:
    now = 0.0
    suspects = Suspects(lambda: now)
    small, large = Admitted(b'{"a": 1}', CHAT, context=CONTEXT), Admitted(b'{"b": 12345}', CHAT, context=CONTEXT)
    larger = Admitted(b'{"c": 123456789}', CHAT, context=CONTEXT)
    assert died(suspects, Engine(), small, large) == [False, True]
    with pytest.raises(CostlyRequestError):
        suspects.refuse(large)
    suspects.refuse(small)
    assert died(suspects, Engine(), larger, small) == [False, True]
    now = REFUSED_S
    suspects.refuse(large)
    suspects.refuse(small)
