"""Tests the measured speed of an answer with a server that answers as an engine does."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vedette.engine.client import EngineClient
from vedette.measure.decode_speed import ANSWER_TOKENS, read_decode_tokens_per_s

PAUSE_S = 0.01


async def speed_of(tokens: int, pieces: int, asked: list[dict[str, object]]) -> float | None:
    """The speed measured of an engine that answers with `tokens` tokens in `pieces` pieces."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(pieces):
            await response.write(b'data: {"choices":[{"delta":{"content":"one "}}]}\n\n')
            await asyncio.sleep(PAUSE_S)
        usage = {"prompt_tokens": 5, "completion_tokens": tokens}
        await response.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        client = EngineClient(f"http://127.0.0.1:{server.port}", "model")
        try:
            return await read_decode_tokens_per_s(client, 1000)
        finally:
            await client.close()


async def test_the_speed_is_the_tokens_after_the_first_over_their_time() -> None:
    asked: list[dict[str, object]] = []
    speed = await speed_of(64, 11, asked)
    assert speed is not None
    assert 0 < speed <= 63 / (10 * PAUSE_S) * 1.1
    assert asked[0]["max_tokens"] == ANSWER_TOKENS
    assert asked[0]["ignore_eos"] is True


@pytest.mark.parametrize(("tokens", "pieces"), [(64, 1), (8, 8), (0, 0)])
async def test_the_speed_is_none_where_it_cannot_be_measured(tokens: int, pieces: int) -> None:
    assert await speed_of(tokens, pieces, []) is None
