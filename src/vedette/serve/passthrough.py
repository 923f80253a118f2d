"""`/v1/*`: the engine's own OpenAI API, passed through as it comes in both directions."""

import json
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from vedette.errors import EngineUnavailableError, TooLargeError, VedetteError
from vedette.measure.metrics import Metrics
from vedette.serve.backend import Backend, ready
from vedette.serve.faults import begun, openai_json

MAX_BODY_BYTES = 32 * 2**20
"""A request's size limit: some twenty pictures of a megapixel in base64."""

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
# The body arrives here decompressed and leaves in chunks; what belongs to the browser stays here.
_NOT_SENT_ON = _HOP_BY_HOP | {"host", "content-length", "content-encoding", "expect", "origin", "referer", "cookie"}


class PassThrough:
    """The handler of `/v1/*`."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises EngineUnavailableError, TooLargeError; leaves the engine's own errors as they are."""
        client, _ = ready(self._backend)
        # A client library resolves dots in a path, and so could leave /v1 for what the engine has beside it.
        if {".", ".."} & set(request.path.split("/")):
            raise web.HTTPNotFound
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise _too_large()
        body = _Body(request.content) if request.body_exists else None
        headers = _kept(request.headers, _NOT_SENT_ON)
        response: web.StreamResponse | None = None
        try:
            async with client.request(
                request.method, request.raw_path, headers, body.read() if body else None
            ) as upstream:
                response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
                response.headers.update(_kept(upstream.headers, _HOP_BY_HOP))
                self._metrics.api_requests.labels(status=str(upstream.status)).inc()
                await _copy(request, upstream, response)
        except EngineUnavailableError as error:
            failure = _too_large() if body is not None and body.too_large else error
            if response is None or not begun(request):
                raise failure from None
            await _break_off(request, response, failure)
        return response


class _Body:
    """A request's body, read as the engine takes it and never more than the limit."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self.too_large = False

    async def read(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._content.iter_any():
            seen += len(chunk)
            if seen > MAX_BODY_BYTES:
                self.too_large = True
                raise _too_large()
            yield chunk


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
