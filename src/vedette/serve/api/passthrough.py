"""`/v1/*`: the engines' own OpenAI API, passed through as it comes in both directions."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict

from vedette.errors import EngineUnavailableError, EngineUnreachableError, TooLargeError, VedetteError
from vedette.measure.metrics import Metrics
from vedette.serve.backend import Backend, Served, not_ready, ready
from vedette.serve.http_errors import begun, openai_json
from vedette.serve.route import Route

MAX_BODY_BYTES = 32 * 2**20
"""A request's size limit: some twenty pictures of a megapixel in base64."""
MOST_HELD_BYTES = 96 * 2**20
"""What all requests that are being read or wait may hold together."""

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_SENT_BACK = _HOP_BY_HOP | {"content-length"}
# The body arrives here decompressed; what belongs to the browser stays here.
_NOT_SENT_ON = _HOP_BY_HOP | {"host", "content-length", "content-encoding", "expect", "origin", "referer", "cookie"}

_DEAD_ENGINE = (b"EngineDeadError", b"EngineCore encountered an issue")
"""What vLLM's server answers with in the moment between its core's death and its own (v1/engine/exceptions.py)."""
_NOTICE_S = 0.5
"""Within this it is noticed that an engine is gone …"""
_NOTICE_DEATH_S = 1.5
"""… and within this that its core is (engine/process.py)."""
_TRIES = 3


class _Named(msgspec.Struct):
    """The one field of a request that decides who answers it."""

    model: str | None = None


class PassThrough:
    """The handlers of `/v1/*`."""

    def __init__(self, backend: Backend, route: Route, metrics: Metrics) -> None:
        self._backend = backend
        self._route = route
        self._metrics = metrics
        self._held_bytes = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises VedetteError; leaves the engine's own errors as they are, but for that of a dying one."""
        # A client library resolves dots in a path, and so could leave /v1 for what the engine has beside it.
        if {".", ".."} & set(request.path.split("/")):
            raise web.HTTPNotFound
        body = _Body(request, self)
        try:
            await body.read()
            return await self._answered(request, body.data if request.body_exists else None)
        finally:
            self._held_bytes -= len(body.data)

    async def models(self, _: web.Request) -> web.Response:
        """`/v1/models`: what answers now, and what a request may bring in by naming it."""
        data: list[object] = []
        for served in self._backend.served:
            if served.client is not None:
                async with served.client.request("GET", "/v1/models", {"Accept-Encoding": "identity"}, None) as answer:
                    data += (await answer.json()).get("data", [])
        if not data:
            ready(self._backend.served[0])
        names = {served.name for served in self._backend.served}
        others = [name for name in self._backend.installed() if name not in names] if self._backend.allow_swap else []
        data += [{"id": name, "object": "model", "created": 0, "owned_by": "vedette"} for name in others]
        return web.json_response({"object": "list", "data": data})

    def hold(self, size: int) -> None:
        """Notes that a body has grown. Raises EngineUnavailableError when all together are too many."""
        self._held_bytes += size
        if self._held_bytes > MOST_HELD_BYTES:
            raise EngineUnavailableError("Too many large requests wait already.", "Try again later.")

    async def _answered(self, request: web.Request, body: bytearray | None) -> web.StreamResponse:
        name = named_model(body or b"")
        for _ in range(_TRIES):
            served = await self._route.find(name)
            try:
                with served.busy():
                    return await self._pass_on(request, served, body)
            except EngineUnreachableError:  # it has died unnoticed, and this request with it not even begun
                await asyncio.sleep(_NOTICE_S)
        raise not_ready(served)

    async def _pass_on(self, request: web.Request, served: Served, body: bytearray | None) -> web.StreamResponse:
        client, _ = ready(served)
        headers = _kept(request.headers, _NOT_SENT_ON)
        response: web.StreamResponse | None = None
        try:
            async with client.request(request.method, request.raw_path, headers, body) as upstream:
                if upstream.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                    refusal = await _refusal(upstream, served)
                    self._metrics.api_requests.labels(status=str(upstream.status)).inc()
                    return refusal
                response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
                response.headers.update(_kept(upstream.headers, _HOP_BY_HOP))
                self._metrics.api_requests.labels(status=str(upstream.status)).inc()
                await _copy(request, upstream, response)
        except EngineUnavailableError as error:
            if response is None or not begun(request):
                raise
            await _break_off(request, response, error)
        return response


class _Body:
    """A request's body, read whole: it names the model, and the engine may have to be waited for."""

    def __init__(self, request: web.Request, holder: PassThrough) -> None:
        self.data = bytearray()
        self._request = request
        self._holder = holder

    async def read(self) -> None:
        """Raises TooLargeError, EngineUnavailableError."""
        if (self._request.content_length or 0) > MAX_BODY_BYTES:
            raise _too_large()
        async for chunk in self._request.content.iter_any():
            self.data += chunk
            self._holder.hold(len(chunk))
            if len(self.data) > MAX_BODY_BYTES:
                raise _too_large()


def named_model(body: bytes | bytearray) -> str | None:
    """The model that a request's JSON names; None where it names none or is no JSON, which the engine then says."""
    try:
        return msgspec.json.decode(body, type=_Named).model
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def _refusal(upstream: aiohttp.ClientResponse, served: Served) -> web.Response:
    """An engine's 500 as it came. Raises EngineUnavailableError if it comes of its death."""
    client, body = served.client, await upstream.read()
    if not any(sign in body for sign in _DEAD_ENGINE):  # it may not say so, but its death is noticed soon
        await asyncio.sleep(_NOTICE_DEATH_S)
        if client is not None and served.client is client:
            return web.Response(status=upstream.status, body=body, headers=_kept(upstream.headers, _NOT_SENT_BACK))
    raise EngineUnavailableError("The engine ended before it had answered.", "Ask again: it is being restarted.")


async def _copy(request: web.Request, upstream: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """Writes chunks as they come. When the caller goes away, returning lets go of the engine's side too."""
    try:
        await response.prepare(request)
    except ConnectionError:
        return
    async for chunk in upstream.content.iter_any():
        try:
            await response.write(chunk)
        except ConnectionError:
            return


async def _break_off(request: web.Request, response: web.StreamResponse, error: VedetteError) -> None:
    """Ends an answer whose engine died: an event stream says why, anything else is cut so that it shows."""
    if response.content_type == "text/event-stream":
        await response.write(b"data: " + json.dumps(openai_json(error)).encode() + b"\n\n")
        await response.write_eof()
    elif request.transport is not None:
        request.transport.abort()


def _kept(headers: Mapping[str, str], dropped: frozenset[str]) -> CIMultiDict[str]:
    """Headers that concern both ends. The engine's answer to other origins is not passed on: vedette allows none."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped | named and not name.lower().startswith("access-control-")
    )


def _too_large() -> TooLargeError:
    limit = MAX_BODY_BYTES // 2**20
    return TooLargeError(f"The request is larger than {limit} MiB.", "Scale pictures down before sending them.")
