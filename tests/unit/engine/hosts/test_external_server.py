"""What vedette reads from an external server, over a real socket."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from vedette.engine.client import EngineClient
from vedette.engine.hosts.external_server import ExternalClient, ExternalServer, probe_picture, probe_text
from vedette.engine.hosts.server_facts import Facts
from vedette.errors import ConfigError, EngineFailedError, EngineUnavailableError, VedetteError
from vedette.language.message import Message

MIB = 1024**2


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[str]:
    """The address of a server with these routes."""
    app = web.Application(client_max_size=16 * MIB)
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def models(status: int = 200, text: str = '{"data": []}') -> web.RouteDef:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    return web.get("/v1/models", answer)


async def problem(route: web.RouteDef, key: str | None = None) -> tuple[type[VedetteError], str, Mapping[str, Any]]:
    async with serving(route) as address:
        server = ExternalServer(address, key)
        try:
            await server.read_models()
        except VedetteError as error:
            return type(error), error.message.code, error.message.params
        finally:
            await server.close()
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("status", "text", "kind", "code"),
    [
        (401, "{}", ConfigError, "engine.server_wants_key"),
        (403, "{}", ConfigError, "engine.server_wants_key"),
        (500, "{}", EngineUnavailableError, "engine.server_not_ready"),
        (503, "{}", EngineUnavailableError, "engine.server_not_ready"),
        (404, "{}", ConfigError, "engine.server_not_openai"),
        (499, "{}", ConfigError, "engine.server_not_openai"),
        (200, "<html>", ConfigError, "engine.server_not_openai"),
        (200, "[]", ConfigError, "engine.server_not_openai"),
        (200, '{"data": [], "a": "' + "a" * 4 * MIB + '"}', ConfigError, "engine.server_not_openai"),
    ],
)
async def test_a_server_without_models_is_an_error(status: int, text: str, kind: type[VedetteError], code: str) -> None:
    found_kind, found_code, params = await problem(models(status, text))
    assert (found_kind, found_code) == (kind, code)
    assert params.get("status", status) == status


async def test_a_wrong_key_is_told_from_a_missing_one() -> None:
    assert (await problem(models(401), "wrong"))[1] == "engine.server_refuses_key"


async def test_a_long_list_of_models_is_read() -> None:
    text = json.dumps({"data": [{"id": "m"}], "padding": "a" * (4 * MIB - 200)})
    async with serving(models(200, text)) as address:
        server = ExternalServer(f"{address}/v1/", None)
        assert await server.read_models() == {"m": Facts()}
        await server.close()


async def test_an_address_that_nothing_listens_on_is_shown_without_its_password() -> None:
    server = ExternalServer("http://user:secret@127.0.0.1:9/v1", None)
    with pytest.raises(EngineUnavailableError) as caught:
        await server.read_models()
    assert caught.value.message == Message("engine.server_unreachable", server="http://127.0.0.1:9")
    await server.close()


def chat(words_tokens: int | None, picture_tokens: int | None, reasoning: str = "", content: str = "A") -> web.RouteDef:
    """A model that answers, and counts a prompt without and with a picture."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert body["max_tokens"] == 8
        kinds = [part["type"] for part in body["messages"][0]["content"]]
        tokens = picture_tokens if "image_url" in kinds else words_tokens
        response = web.StreamResponse()
        await response.prepare(request)
        delta = {"content": content, "reasoning_content": reasoning}
        chunks: list[dict[str, Any]] = [{"choices": [{"delta": delta}]}] if content or reasoning else []
        if tokens is not None:
            chunks.append({"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": 1}})
        for chunk in chunks:
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    return web.post("/v1/chat/completions", answer)


async def probed(route: web.RouteDef) -> tuple[bool, int | None, int | None]:
    async with serving(route) as address:
        client = EngineClient(address, "m")
        try:
            has_reasoning, tokens = await probe_text(client)
            return has_reasoning, tokens, await probe_picture(client, 64 * 64, tokens)
        finally:
            await client.close()


async def test_a_picture_takes_the_tokens_beyond_those_of_the_question() -> None:
    assert await probed(chat(12, 112)) == (False, 12, 100)
    assert await probed(chat(12, 112, reasoning="hm", content="")) == (True, 12, 100)


@pytest.mark.parametrize("counts", [(12, 12), (12, 5), (12, None), (None, 100), (None, None)])
async def test_a_server_that_does_not_count_pictures_gives_no_figure(counts: tuple[int | None, int | None]) -> None:
    assert await probed(chat(*counts)) == (False, counts[0], None)


async def test_an_empty_answer_is_an_error() -> None:
    with pytest.raises(EngineFailedError) as caught:
        await probed(chat(12, 112, content=""))
    assert caught.value.message == Message("engine.server_empty_answer")


@pytest.mark.parametrize(
    ("efforts", "thinking", "sent"),
    [(True, False, "none"), (True, True, None), (True, None, None), (False, False, None)],
)
async def test_reasoning_is_switched_off_by_effort_only_where_that_works(
    efforts: bool, thinking: bool | None, sent: str | None
) -> None:
    bodies: list[dict[str, Any]] = []
    keys: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        keys.append(request.headers.get("Authorization"))
        return web.Response(text="data: [DONE]\n\n")

    async with serving(web.post("/v1/chat/completions", answer)) as address:
        client = ExternalClient(address, "m", "secret", efforts)
        arguments = {} if thinking is None else {"chat_template_kwargs": {"enable_thinking": thinking}}
        assert [delta async for delta in client.stream_chat({"messages": [], **arguments})] == []
        await client.close()
    assert bodies[0].get("reasoning_effort") == sent
    assert keys == ["Bearer secret"]


async def test_the_list_of_models_is_enough_where_it_gives_a_context() -> None:
    async def unexpected(request: web.Request) -> web.Response:
        raise AssertionError(request.path)

    async def props(request: web.Request) -> web.Response:
        assert request.query["model"] == "a/b"
        return web.json_response({"total_slots": 2, "modalities": {"vision": True}})

    async def show(request: web.Request) -> web.Response:
        assert await request.json() == {"model": "a/b"}
        return web.json_response({"capabilities": ["completion"]})

    known = Facts(max_model_len=4096)
    async with serving(web.get("/props", unexpected)) as address:
        server = ExternalServer(address, None)
        assert await server.read_facts("a/b", known) == known
        await server.close()
    async with serving(web.get("/props", props), web.post("/api/show", show)) as address:
        server = ExternalServer(address, None)
        expected = Facts(sees=True, thinks=False, chats=True, concurrency=2, efforts=True)
        assert await server.read_facts("a/b", Facts()) == expected
        await server.close()


@pytest.mark.parametrize(("status", "loading"), [(503, True), (200, False), (404, False), (504, False)])
async def test_a_server_that_loads_its_model_answers_503(status: int, loading: bool) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(web.get("/health", health)) as address:
        server = ExternalServer(address, None)
        assert await server.is_loading() is loading
        await server.close()
