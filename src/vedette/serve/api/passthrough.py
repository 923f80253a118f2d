"""`/v1/*`: the engines' own OpenAI API, passed through unchanged in both directions."""

import asyncio
import json
import time
from collections.abc import Hashable, Mapping
from contextlib import suppress
from http import HTTPStatus

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from vedette.engine.client import EngineClient, generates
from vedette.errors import (
    BadInputError,
    CostlyRequestError,
    EngineUnavailableError,
    EngineUnreachableError,
    VedetteError,
)
from vedette.measure.metrics import Metrics
from vedette.outputs import read_at_most
from vedette.serve.access.accounts import account_of
from vedette.serve.access.principal import Role, principal_of
from vedette.serve.access.redaction import without_places
from vedette.serve.access.token_count import TokenCount
from vedette.serve.admission.admission import Admission, Admitted, Asked, read_request
from vedette.serve.admission.request_limits import most_values
from vedette.serve.admission.suspects import REFUSED_S, Suspects
from vedette.serve.backend import Backend, Served, not_ready, ready
from vedette.serve.connections.bodies import Bodies, Body
from vedette.serve.connections.limits import ConnectionLimits
from vedette.serve.http_errors import begun, shown_json
from vedette.serve.queue import Priority, Queue, Ticket, WaitLimit
from vedette.serve.request_body import read_body
from vedette.serve.route import ByName, Route

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
_FOR_BROWSERS = frozenset(
    {
        "set-cookie",
        "clear-site-data",
        "refresh",
        "link",
        "service-worker-allowed",
        "strict-transport-security",
        "alt-svc",
        "nel",
        "report-to",
        "reporting-endpoints",
        "sourcemap",
        "www-authenticate",
    }
)
"""Headers with which an attached server would change what a browser does with vedette's own pages."""
_PLACES = frozenset({"location", "content-location"})
"""Headers that would tell a client the engine's own address."""
_NOT_SENT_BACK = _HOP_BY_HOP | _FOR_BROWSERS | _PLACES | {"content-length"}
# The body arrives here decompressed. Keys, cookies and origins concern vedette only.
_NOT_SENT_ON = _HOP_BY_HOP | {
    "host",
    "content-length",
    "content-encoding",
    "expect",
    "origin",
    "referer",
    "cookie",
    "authorization",
    "x-api-key",
}

_DEAD_ENGINE = (b"EngineDeadError", b"EngineCore encountered an issue")
"""The answers of vLLM's server between its core's death and its own (v1/engine/exceptions.py)."""
_MOST_REFUSAL_BYTES = 2**20
_NOTICE_S = 0.5
"""The time in which the deployment notices that an engine's server has ended …"""
_NOTICE_DEATH_S = 1.5
"""… and that its core has (engine/process/process.py)."""
_NOTICE_FAULT_S = 10.0
"""… and whose fault it is: that is known once the engine's processes have ended (deploy/recovery.py)."""
_LOOK_EVERY_S = 0.05
_ATTEMPTS = 3
_METHODS = ("GET", "HEAD", "POST", "DELETE")
"""The methods that the engine has (vllm/entrypoints, 0.11 to 0.33); any other is refused here."""

_RESPONSE = web.RequestKey("response", web.StreamResponse)


class PassThrough:
    """The handlers of `/v1/*`."""

    def __init__(
        self,
        backend: Backend,
        queue: Queue[Served],
        admission: Admission,
        metrics: Metrics,
        wait_s: float,
        limits: ConnectionLimits,
    ) -> None:
        self._backend = backend
        self._admission = admission
        self._queue = queue
        self._route = Route(backend, queue.refresh)
        self._wait_s = wait_s
        self._metrics = metrics
        self._bodies = Bodies(limits)
        self._suspects = Suspects()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with the engine's answer, its errors included unless it is crashing. Raises VedetteError."""
        if request.method not in _METHODS:
            raise web.HTTPMethodNotAllowed(request.method, _METHODS)
        if not request.raw_path.startswith("/"):
            raise BadInputError("serve.address_with_host")
        # The HTTP client resolves dots in a path, and would leave /v1 for the engine's other addresses.
        if {".", ".."} & set(request.path.split("/")):
            raise web.HTTPNotFound
        if request.method in {"GET", "HEAD"} and request.path.rstrip("/") == "/v1/models":
            return await self.models(request)
        with self._bodies.hold(request) as body:
            await self._read(request, body)
            most = most_values(served.context for served in self._backend.served)
            try:
                # Nothing here keeps its values, which take many times as much memory as its bytes.
                data = body.data if request.body_exists else None
                return await self._answered(request, read_request(data, most, request.path))
            except VedetteError as error:
                if not begun(request):
                    raise
                await _cut_off(request, request[_RESPONSE], error)
                return request[_RESPONSE]

    async def models(self, request: web.Request) -> web.Response:
        """`/v1/models`: the models that answer now, and those that a request may swap in by naming them."""
        data: list[object] = []
        for served in self._backend.served:
            if served.client is not None:
                data += await served.client.read_models()
        if not data:
            ready(self._backend.served[0])
        names = {served.name for served in self._backend.served}
        others = [name for name in self._backend.installed() if name not in names] if self._backend.allow_swap else []
        data += [{"id": name, "object": "model", "created": 0, "owned_by": "vedette"} for name in others]
        if principal_of(request).role is not Role.OWNER:
            data = without_places(data)
        return web.json_response({"object": "list", "data": data})

    async def _read(self, request: web.Request, body: Body) -> None:
        """Read a body whole: it names the model, and may be sent again to the engine's successor.

        Raises BadInputError, TooLargeError, OverloadedError.
        """
        async for piece in read_body(request):
            self._bodies.add(body, piece)
        body.is_whole = True

    async def _answered(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        destination = self._route.to(asked.model)
        client = principal_of(request).client
        admitted = await self._admitted(asked, self._route.settled(asked.model), client)
        ticket = self._ticket(request, destination, admitted)
        del asked  # its values, many times as large as its bytes, do not wait
        for _ in range(_ATTEMPTS):
            async with self._queue.admit(ticket) as served:
                admitted = await self._again(admitted, served, client)
                # An engine that crashed unnoticed has seen nothing of the request.
                with suppress(EngineUnreachableError):
                    return await self._ask(request, served, admitted)
            await asyncio.sleep(_NOTICE_S)
        raise not_ready(served)

    async def _admitted(self, asked: Asked, served: Served | None, client: Hashable) -> Admitted:
        """The request held against the model's plan, if that is known.

        What somebody's own server has room for is not known, and its own affair.
        """
        context = served.context if served is not None and not self._backend.engine_is_shared else None
        return (
            Admitted(asked.body, asked.path) if context is None else await self._admission.admit(asked, context, client)
        )

    async def _again(self, admitted: Admitted, served: Served, client: Hashable) -> Admitted:
        """The request held against the plan that answers it, where that is another one than before it waited."""
        if self._backend.engine_is_shared or served.context in (None, admitted.context):
            return admitted
        return await self._admitted(
            read_request(admitted.body, most_values([served.context]), admitted.path), served, client
        )

    def _ticket(self, request: web.Request, destination: ByName, admitted: Admitted) -> Ticket[Served]:
        takes_slot = generates(request.method, request.path) or admitted.has_media
        return Ticket(
            destination,
            Priority.PERSON,
            client=principal_of(request).client,
            wait_limit=WaitLimit(self._wait_s),
            takes_slot=takes_slot and not self._backend.engine_is_shared,
            slots=admitted.sequences,
            early=True,
        )

    async def _ask(self, request: web.Request, served: Served, admitted: Admitted) -> web.StreamResponse:
        """The engine's answer. Raises CostlyRequestError if the engine ran out of memory because of this request."""
        client, _ = ready(served)
        self._suspects.refuse(admitted)
        with self._suspects.watch(client, admitted) as in_flight:
            try:
                with served.busy():
                    return await self._pass_on(request, served, admitted.body)
            except EngineUnreachableError:
                raise
            except EngineUnavailableError as error:
                in_flight.break_off()
                if await _died_of_request(served, client) and self._suspects.is_to_blame(client, in_flight):
                    raise CostlyRequestError("serve.request_took_memory", wait_s=round(REFUSED_S)) from error
                raise

    async def _pass_on(
        self, request: web.Request, served: Served, body: bytes | bytearray | None
    ) -> web.StreamResponse:
        client, _ = ready(served)
        headers = _kept(request.headers, _NOT_SENT_ON)
        async with client.request(request.method, _plain_address(request.raw_path), headers, body) as upstream:
            if upstream.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                refusal = await _refusal(upstream, served)
                self._metrics.api_requests.labels(status=str(upstream.status)).inc()
                return refusal
            response = request[_RESPONSE] = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            response.headers.update(_kept(upstream.headers, _HOP_BY_HOP | _FOR_BROWSERS | _PLACES))
            self._metrics.api_requests.labels(status=str(upstream.status)).inc()
            await _copy(request, upstream, response)
        return response


def _plain_address(address: str) -> str:
    """The address without slashes at the end of its path, which the engine answers with a redirect to itself.

    What stands behind `#` concerns a browser only, and is not sent on.
    """
    path, mark, query = address.partition("#")[0].partition("?")
    return path.rstrip("/") + mark + query


async def _refusal(upstream: aiohttp.ClientResponse, served: Served) -> web.Response:
    """An engine's 500 as it came. Raises EngineUnavailableError if the engine sent it because it is crashing.

    The answer may not show a crash. So an engine that does not say that it is healthy is given the time in which the
    deployment notices its end; a healthy one has only failed at this request.
    """
    client, body = served.client, await read_at_most(upstream.content.iter_any(), _MOST_REFUSAL_BYTES) or b""
    if client is not None and not any(sign in body for sign in _DEAD_ENGINE):
        if not await client.is_healthy():
            await asyncio.sleep(_NOTICE_DEATH_S)
        if served.client is client:
            return web.Response(status=upstream.status, body=body, headers=_kept(upstream.headers, _NOT_SENT_BACK))
    raise EngineUnavailableError("serve.engine_ended")


async def _died_of_request(served: Served, client: EngineClient | None) -> bool:
    """Whether the engine of this client has just run out of memory because of a request."""
    began_at = time.monotonic()
    while (waited_s := time.monotonic() - began_at) < _NOTICE_FAULT_S:
        if served.client is client:
            if waited_s > _NOTICE_DEATH_S:
                return False
        elif served.blames_request is not None:
            return served.blames_request
        await asyncio.sleep(_LOOK_EVERY_S)
    return False


async def _copy(request: web.Request, upstream: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """Write chunks as they come. If the client hangs up, returning closes the engine's side too."""
    try:
        await response.prepare(request)
    except ConnectionError:
        return
    count = TokenCount()
    try:
        async for chunk in upstream.content.iter_any():
            count.feed(chunk)
            await response.write(chunk)
    except ConnectionError:
        return
    finally:
        account_of(request).spend(*count.result())


async def _cut_off(request: web.Request, response: web.StreamResponse, error: VedetteError) -> None:
    """End an answer whose engine crashed: an event stream gets the cause, anything else a broken connection."""
    if response.content_type == "text/event-stream":
        await response.write(b"data: " + json.dumps(shown_json(request, error)).encode() + b"\n\n")
        await response.write_eof()
    elif request.transport is not None:
        request.transport.abort()


def _kept(headers: Mapping[str, str], dropped: frozenset[str]) -> CIMultiDict[str]:
    """The headers that concern both ends, without the engine's permission for other origins: vedette allows none."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped | named and not name.lower().startswith("access-control-")
    )
