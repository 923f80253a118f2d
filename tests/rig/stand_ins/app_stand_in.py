"""What surrounds vedette's app: an engine that misbehaves on command, deployments in the state a test sets, a page."""

import asyncio
import io
import json
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from PIL import Image

from vedette.engine.client import EngineClient
from vedette.engine.state import Phase, State, Status
from vedette.events import ModelStatus, ServiceStatus
from vedette.plan.plan import Context
from vedette.serve.access.accounts import ClientLimits
from vedette.serve.access.doorman import Access
from vedette.serve.access.principal import Role

Serve = Callable[[web.Application], Awaitable[tuple[str, web.AppRunner]]]


OWNER_KEY = "the-owners-key-of-a-test-0123456789"
OWNER = {"Authorization": f"Bearer {OWNER_KEY}"}


def access_of(directory: Path, open_role: Role = Role.USE, limits: ClientLimits | None = None) -> Access:
    """The access of an app whose owner's key is OWNER_KEY, with the keys in a directory."""
    return Access.of(directory, OWNER_KEY, 8090, open_role, limits or ClientLimits())


CONTEXT = Context(
    max_model_len=2048,
    visual_tokens=80,
    images_per_request=1,
    prompt_tokens=256,
    answer_tokens=128,
    image_max_pixels=320 * 240,
    concurrency=1,
)


def jpeg_of_size(width: int = 320, height: int = 240, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 40)).save(buffer, kind)
    return buffer.getvalue()


def event(**delta: str) -> dict[str, object]:
    return {"choices": [{"delta": delta, "finish_reason": None}]}


END: list[dict[str, object]] = [
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 3}},
]


@dataclass
class Upstream:
    """Speaks like the engine. Answers `events` and, if asked, waits before each one, dies, or refuses."""

    url: str = ""
    events: list[dict[str, object]] = field(
        default_factory=lambda: [event(reasoning="Look. "), event(content="A red"), event(content=" star."), *END]
    )
    held: asyncio.Event | None = None
    """While set to an event, a stream stops after its first chunk until that event comes."""
    dies: bool = False
    refuses: bool = False
    fails: str | None = None
    """Answers with a 500 that says this."""
    models: list[dict[str, object]] = field(default_factory=lambda: [{"id": "vedette-tiny"}])
    answer_headers: dict[str, str] = field(default_factory=dict)
    """Of answers to any other address."""
    models_text: str | None = None
    """Sent in the place of the list of models."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    all_bodies: list[Any] = field(default_factory=list)
    """Also those to other addresses than the chat's."""
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    streaming: asyncio.Event = field(default_factory=asyncio.Event)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        self.bodies.append(json.loads(await request.read()))
        self.all_bodies.append(self.bodies[-1])
        if self.fails is not None:
            return web.json_response({"error": {"message": self.fails}}, status=500)
        if self.refuses:
            return web.json_response({"error": {"message": "Input length (999) exceeds"}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Access-Control-Allow-Origin": "*"})
        await response.prepare(request)
        try:
            for number, chunk in enumerate(self.events):
                await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                self.streaming.set()
                if number == 0 and self.dies:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                if number == 0 and self.held is not None:
                    await self.held.wait()
            await response.write(b"data: [DONE]\n\n")
        except asyncio.CancelledError:
            self.hung_up.set()
            raise
        return response

    async def metrics(self, request: web.Request) -> web.Response:
        text = "# HELP vllm:num_requests_running n\n# TYPE vllm:num_requests_running gauge\n"
        text += 'vllm:num_requests_running{engine="0"} 2.0\n# HELP process_open_fds n\nprocess_open_fds 7.0\n'
        return web.Response(text=text)

    async def list_models(self, request: web.Request) -> web.Response:
        if self.models_text is not None:
            return web.Response(text=self.models_text)
        return web.json_response({"object": "list", "data": self.models})

    async def anything(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body:
            self.all_bodies.append(json.loads(body))
        self.headers.append(dict(request.headers))
        self.paths.append(request.raw_path)
        document = {"length": len(body), "path": request.raw_path}
        return web.json_response(document, headers={"X-Engine": "yes", **self.answer_headers})


class Deployment:
    """A deployment whose state the test sets."""

    def __init__(self, client: EngineClient) -> None:
        self.own_client = client
        self._watchers: list[asyncio.Queue[None]] = []
        self.client: EngineClient | None = client
        self.context: Context | None = CONTEXT
        self.thinks = True
        self.sees = True
        self.name: str | None = client.model_name
        self.next_model: str | None = None
        self.leaving: tuple[str, ...] = ()
        self.stands_in_for: tuple[str, ...] = ()
        self.abandoned = False
        self.blames_request: bool | None = False
        self.answering = 0
        self.most_answering = 0
        self.plan: dict[str, Any] | None = None
        self.engine_pid: int | None = None
        self._status = Status(State.READY)

    @property
    def status(self) -> ModelStatus:
        url = "http://127.0.0.1:8000"
        names = (self.name, self.next_model)
        return ModelStatus(self._status, *names, f"{url}/", f"{url}/v1", self.engine_pid, self.plan)

    @property
    def names(self) -> Sequence[str]:
        return () if self.name is None else (self.name, *self.stands_in_for)

    @contextmanager
    def busy(self) -> Iterator[None]:
        self.answering += 1
        self.most_answering = max(self.most_answering, self.answering)
        try:
            yield
        finally:
            self.answering -= 1

    @contextmanager
    def notify(self, queue: "asyncio.Queue[None]") -> Iterator[None]:
        self._watchers.append(queue)
        queue.put_nowait(None)
        try:
            yield
        finally:
            self._watchers.remove(queue)

    async def watch(self) -> AsyncGenerator[None, None]:
        queue: asyncio.Queue[None] = asyncio.Queue()
        with self.notify(queue):
            while True:
                await queue.get()
                yield

    def enter(self, state: State, phase: Phase | None = None, **more: Any) -> None:
        """A new state; the engine can be reached in `READY` only."""
        self._status = Status(state, phase, **more)
        self.client = self.own_client if state is State.READY else None
        self.changed()

    def changed(self) -> None:
        """Notify all watchers that something has changed."""
        for queue in self._watchers:
            queue.put_nowait(None)


class Fleet:
    """Deployments behind one port, whose swap the test writes."""

    def __init__(self, *served: Deployment) -> None:
        self.served = served
        self.allow_swap = False
        self.engine_is_shared = False
        self.names: list[str] = []
        self.swaps: list[tuple[str, str | None]] = []
        self.on_swap: Callable[[str], Awaitable[None]] | None = None

    def installed(self) -> list[str]:
        return self.names

    def known(self) -> list[str]:
        return ["of-the-catalogue"]

    async def swap(self, argument: str, replace: str | None = None) -> Deployment:
        self.swaps.append((argument, replace))
        if self.on_swap is not None:
            await self.on_swap(argument)
        return self.served[0]

    @property
    def service_status(self) -> ServiceStatus:
        return ServiceStatus(tuple(each.status for each in self.served))

    async def watch(self) -> AsyncGenerator[None, None]:
        queue: asyncio.Queue[None] = asyncio.Queue()
        with ExitStack() as stack:
            for each in self.served:
                stack.enter_context(each.notify(queue))
            while True:
                await queue.get()
                yield


class Page:
    """A browser's side of the live socket."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        self.socket = socket

    async def send(self, **message: object) -> None:
        await self.socket.send_str(json.dumps(message))

    async def start(self, **wish: object) -> None:
        await self.send(**{"type": "start", "source": "page", "prompt": "What?", "max_tokens": 64, **wish})

    async def send_frame(self, number: int, data: bytes, held_us: int = 0, age_us: int = 0) -> None:
        await self.socket.send_bytes(struct.pack(">III", number, held_us, age_us) + data)

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of `kinds`; others are passed over."""
        while True:
            message = await asyncio.wait_for(self.socket.receive(), 5)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            words: dict[str, Any] = json.loads(message.data)
            if words["type"] in kinds:
                return words

    async def answer_ask(self) -> int:
        """Sends a frame for the next ask; its number."""
        ask = await self.next("ask")
        await self.send_frame(ask["id"], jpeg_of_size())
        number: int = ask["id"]
        return number


OpenPage = Callable[[], Awaitable[Page]]
