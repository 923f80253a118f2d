"""Attached to somebody's server: stand-ins that speak as vLLM, llama.cpp's server and Ollama do, over sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.rig.server_documents import (
    LLAMA_MODELS,
    LLAMA_PROPS,
    OLLAMA_MODELS,
    OLLAMA_RUNNING,
    OLLAMA_SHOW,
    VLLM_MODELS,
)
from vedette.deploy.attachment import Attachment, ServerLimits
from vedette.engine.state import State
from vedette.errors import ConfigError, EngineFailedError, EngineUnavailableError, ModelNotFoundError, VedetteError
from vedette.events import Event, Note, status_json
from vedette.language.message import say
from vedette.settings.load import join_layers, parse_environment

QUICK = ServerLimits(poll_s=0.05, silence_s=0.3, busy_s=0.3)


@dataclass
class Server:
    """Somebody's server, with the documents that it gives out; POST bodies choose among those of one path."""

    documents: dict[str, Any]
    sees: bool = True
    thinks: bool = False
    silent: bool = False
    slowly_s: float = 0.0
    """Time between the parts of an answer."""
    stalls: frozenset[str] = frozenset()
    """Paths whose requests are accepted and never answered."""
    loading: int = 0
    """How often `/health` says yet that it loads."""
    key: str | None = None
    address: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_route("*", "/{path:.*}", self.document)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        port = int(self.address.rpartition(":")[2] or 0)
        site = web.TCPSite(self.runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        self.address = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    async def document(self, request: web.Request) -> web.StreamResponse:
        await self._stall(request)
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "Unauthorized"}}, status=401)
        if self.loading:
            self.loading -= request.path == "/health"
            return web.json_response({"error": {"code": 503, "message": "Loading model"}}, status=503)
        found = self.documents.get(request.path)
        if callable(found):
            found = found(await request.json())
        return web.json_response(found) if found is not None else web.Response(status=404, text="404 page not found")

    async def _stall(self, request: web.Request) -> None:
        while request.path in self.stalls:  # noqa: ASYNC110 - a test ends it
            await asyncio.sleep(0.05)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        await self._stall(request)
        body = await request.json()
        self.bodies.append(body)
        assert not self.loading
        picture = isinstance(body["messages"][0]["content"], list) and len(body["messages"][0]["content"]) > 1
        if picture and not self.sees:
            return web.json_response({"error": {"message": f"{body['model']} is not a multimodal model"}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        tokens = 12 + 196 * picture
        words = "reasoning" if self.thinks else "content"
        for chunk in (
            ()
            if self.silent
            else (
                {"choices": [{"delta": {words: "A"}, "finish_reason": None}]},
                {"choices": [{"delta": {}, "finish_reason": "stop"}]},
                {"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": 2}},
            )
        ):
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            await asyncio.sleep(self.slowly_s)
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass
class Run:
    """An attachment that runs."""

    attachment: Attachment
    task: "asyncio.Task[None]"
    notes: list[str]

    async def until(self, state: State) -> None:
        waiting = asyncio.ensure_future(self._reach(state))
        done, _ = await asyncio.wait({waiting, self.task}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for task in done:
            task.result()
        assert self.attachment.life.status.state is state

    async def _reach(self, state: State) -> None:
        async for status in self.attachment.life.watch():
            if status.state is state:
                return


@asynccontextmanager
async def attached(server: Server, **settings: str) -> AsyncIterator[Run]:
    environment = {"VEDETTE_ENGINE": server.address, **{f"VEDETTE_{key.upper()}": settings[key] for key in settings}}
    notes: list[str] = []

    def notify(event: Event) -> None:
        assert isinstance(event, Note)
        notes.append(say(event.message))

    joined = join_layers({"environment": parse_environment(environment)})
    attachment = Attachment(joined, "http://127.0.0.1:1", notify, QUICK)
    task = asyncio.ensure_future(attachment.run())
    try:
        yield Run(attachment, task, notes)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, VedetteError):
            await task
        assert attachment.life.status.state is State.STOPPED


async def test_vllm_is_asked_with_a_picture_whether_it_sees() -> None:
    async with running(Server({"/v1/models": VLLM_MODELS})) as server:
        async with attached(server) as run:
            await run.until(State.READY)
            attachment = run.attachment
            assert (attachment.name, attachment.sees, attachment.thinks) == ("vedette-tiny", True, False)
            assert attachment.context is not None
            assert (attachment.context.max_model_len, attachment.context.visual_tokens) == (4096, 196)
            assert attachment.context.image_max_pixels == 512 * 512
            assert run.notes == [
                f"vedette-tiny of the server at {server.address}: 4,096 tokens of context, "
                "pictures up to 262,144 pixels."
            ]
            status = status_json(attachment.service_status)
            assert (status["state"], status["engine_pid"], status["plan"]) == ("ready", None, None)
            assert [model["model"] for model in status["models"]] == ["vedette-tiny"]
            assert attachment.engine_is_shared
        assert attachment.client is None


async def test_a_server_that_refuses_pictures_is_served_without() -> None:
    async with running(Server({"/v1/models": VLLM_MODELS}, sees=False)) as server, attached(server) as run:
        await run.until(State.READY)
        assert not run.attachment.sees
        assert run.attachment.context is not None
        assert run.attachment.context.image_max_pixels is None


async def test_no_picture_is_sent_where_none_is_wished() -> None:
    async with running(Server({"/v1/models": VLLM_MODELS})) as server, attached(server, images="0") as run:
        await run.until(State.READY)
        assert len(server.bodies) == 1
        assert run.attachment.context is not None
        assert run.attachment.context.images_per_request == 0


async def test_llama_cpp_is_waited_for_while_it_loads() -> None:
    documents = {"/v1/models": LLAMA_MODELS, "/props": LLAMA_PROPS, "/health": {"status": "ok"}}
    async with running(Server(documents, loading=1)) as server, attached(server) as run:
        await run.until(State.READY)
        context = run.attachment.context
        assert context is not None
        assert (context.max_model_len, context.concurrency, context.visual_tokens) == (1024, 2, 196)
        assert (run.attachment.sees, run.attachment.thinks) == (True, True)


async def test_a_server_that_says_it_sees_nothing_is_sent_no_picture() -> None:
    documents = {"/v1/models": LLAMA_MODELS, "/props": {**LLAMA_PROPS, "modalities": {"vision": False}}}
    async with running(Server(documents)) as server, attached(server) as run:
        await run.until(State.READY)
        assert not run.attachment.sees
        assert len(server.bodies) == 1


def ollama(**more: Any) -> Server:
    def show(body: Mapping[str, Any]) -> object:
        return {**OLLAMA_SHOW, "capabilities": ["embedding"]} if "embed" in body["model"] else OLLAMA_SHOW

    return Server({"/v1/models": OLLAMA_MODELS, "/api/show": show, "/api/ps": OLLAMA_RUNNING, **more}, thinks=True)


async def test_ollama_lends_the_first_model_that_converses_and_is_told_its_way_not_to_think() -> None:
    async with running(ollama()) as server, attached(server) as run:
        await run.until(State.READY)
        attachment = run.attachment
        assert (attachment.name, attachment.sees, attachment.thinks) == ("qwen3-vl:2b", True, True)
        assert attachment.context is not None
        assert attachment.context.max_model_len == 4096
        assert attachment.client is not None
        for thinking in (False, True):
            question = {"messages": [{"role": "user", "content": "Hi"}]}
            asked = {**question, "chat_template_kwargs": {"enable_thinking": thinking}}
            assert [delta async for delta in attachment.client.stream_chat(asked)]
        assert [body.get("reasoning_effort") for body in server.bodies[-2:]] == ["none", None]


async def test_another_model_of_the_server_is_swapped_in() -> None:
    two = {"data": [{"id": "first", "max_model_len": 1000}, {"id": "second", "max_model_len": 2000}]}
    async with running(Server({"/v1/models": two})) as server, attached(server, allow_swap="true") as run:
        await run.until(State.READY)
        attachment = run.attachment
        assert attachment.installed() == ["first", "second"]
        assert await attachment.swap("second") is attachment
        assert attachment.name == "second"
        assert attachment.context is not None
        assert attachment.context.max_model_len == 2000
        with pytest.raises(ModelNotFoundError, match="It has: first, second"):
            await attachment.swap("third")
        server.silent = True
        with pytest.raises(EngineFailedError, match="nothing"):
            await attachment.swap("first")
        assert (attachment.name, attachment.next_model) == ("second", None)
        assert attachment.client is not None


async def test_a_server_that_goes_is_waited_for_and_asked_anew() -> None:
    server = Server({"/v1/models": VLLM_MODELS})
    await server.start()
    async with attached(server) as run:
        await run.until(State.READY)
        await server.stop()
        await run.until(State.FAILED)
        cause = run.attachment.life.status.cause
        assert cause is not None
        assert cause.sentence == f"No server answers at {server.address}."
        assert run.attachment.client is None
        server.documents["/v1/models"] = {"data": [{"id": "larger", "max_model_len": 9000}]}
        await server.start()
        await run.until(State.READY)
        assert run.attachment.name == "larger"
        assert run.attachment.context is not None
        assert run.attachment.context.max_model_len == 9000
        await server.stop()


async def test_a_server_that_changes_what_it_serves_is_asked_anew() -> None:
    async with running(Server({"/v1/models": VLLM_MODELS})) as server, attached(server) as run:
        await run.until(State.READY)
        server.documents["/v1/models"] = {"data": [{"id": "vedette-tiny", "max_model_len": 512}]}
        await run.until(State.FAILED)
        await run.until(State.READY)
        assert run.attachment.context is not None
        assert run.attachment.context.max_model_len == 512


async def test_the_key_is_sent_and_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(Server({"/v1/models": VLLM_MODELS}, key="sesame")) as server:
        async with attached(server) as run:
            with pytest.raises(ConfigError, match=r"wants a key.*VEDETTE_ENGINE_KEY"):
                await run.task
        monkeypatch.setenv("VEDETTE_ENGINE_KEY", "wrong")
        async with attached(server) as run:
            with pytest.raises(ConfigError, match="refuses the key") as refused:
                await run.task
            assert "wrong" not in json.dumps(refused.value.as_json())
        monkeypatch.setenv("VEDETTE_ENGINE_KEY", "sesame")
        async with attached(server) as run:
            await run.until(State.READY)
            assert run.attachment.client is not None
            async with run.attachment.client.request(
                "GET", "/v1/models", {"authorization": "Bearer x"}, None
            ) as answer:
                assert answer.status == 200
            assert "sesame" not in json.dumps(status_json(run.attachment.service_status)) + "".join(run.notes)


@pytest.mark.parametrize(
    ("documents", "settings", "kind", "says"),
    [
        ({}, {}, ConfigError, r"not an OpenAI server \(status 404"),
        ({"/v1/models": "hello"}, {}, ConfigError, "not an OpenAI server"),
        ({"/v1/models": {"data": []}}, {}, ModelNotFoundError, "no model for chats"),
        ({"/v1/models": VLLM_MODELS}, {"model": "gemma"}, ModelNotFoundError, "no model 'gemma'.*It has: vedette-tiny"),
    ],
)
async def test_what_cannot_be_attached_to_is_said(
    documents: dict[str, Any], settings: dict[str, str], kind: type[VedetteError], says: str
) -> None:
    async with running(Server(documents)) as server, attached(server, **settings) as run:
        with pytest.raises(kind, match=says):
            await run.task


async def test_where_nobody_listens_it_says_so_and_shows_no_password() -> None:
    nobody = Server({}, address="http://me:secret@127.0.0.1:9")
    async with attached(nobody) as run:
        with pytest.raises(EngineUnavailableError, match="No server answers at http://127") as refused:
            await run.task
        assert "secret" not in json.dumps(refused.value.as_json())


CHAT = "/v1/chat/completions"
MODELS = {"/v1/models": {"data": [{"id": "m", "max_model_len": 512}]}}


async def asked(run: Run) -> str | None:
    """The code of the error that a request ends with; None if it is answered."""
    client = run.attachment.client
    assert client is not None
    body = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 3}
    try:
        async with aclosing(client.stream_chat(body)) as deltas:
            async for _ in deltas:
                pass
    except EngineUnavailableError as error:
        return error.message.code
    return None


async def test_a_server_that_accepts_and_never_answers_is_noticed_and_nobody_waits_for_it() -> None:
    server = Server(MODELS)
    async with running(server), attached(server) as run:
        await run.until(State.READY)
        server.stalls = frozenset({CHAT, "/v1/models"})
        assert await asyncio.wait_for(asked(run), 5) == "engine.server_silent"
        assert run.attachment.life.status.state is State.FAILED
        server.stalls = frozenset()
        await run.until(State.READY)
        assert await asyncio.wait_for(asked(run), 5) is None


async def test_a_server_that_is_there_and_does_not_work_is_noticed() -> None:
    server = Server(MODELS)
    async with running(server), attached(server) as run:
        await run.until(State.READY)
        server.stalls = frozenset({CHAT})
        assert await asyncio.wait_for(asked(run), 20) == "deploy.server_stuck"


async def test_a_server_that_says_nothing_else_while_it_answers_is_not_stuck() -> None:
    server = Server(MODELS)
    async with running(server), attached(server) as run:
        await run.until(State.READY)
        server.stalls, server.slowly_s = frozenset({"/v1/models"}), 0.2
        assert await asyncio.wait_for(asked(run), 10) is None
        assert run.attachment.life.status.state is State.READY
