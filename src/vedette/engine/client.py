"""The OpenAI client that all of vedette uses to talk to a running engine."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from vedette.engine.chat_stream import Delta, read_deltas, refusal
from vedette.engine.process.process_command import SOCKET
from vedette.errors import Cause, EngineAnswerError, EngineUnavailableError, EngineUnreachableError
from vedette.language.message import Message
from vedette.outputs import read_at_most
from vedette.units import MIB

CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 900.0
"""Limit for silence within an answer. A stuck engine is found sooner (process/watchdog.py)."""
_SERVER_SILENCE_S = 60.0
"""The same where the engine generates nothing: lists of models, tokens of a text."""
_NO_SLOT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_NO_SLOT_ENDS = ("/tokenize", "/detokenize", "/count_tokens", "/render", "/cancel")
"""Ends of paths that the engine answers without generating (vllm/entrypoints, 0.12 to 0.33)."""
_MOST_METRICS_BYTES = _MOST_DOCUMENT_BYTES = 4 * MIB
_MOST_REFUSAL_BYTES = MIB
_SOCKET_URL = "http://engine"
"""Requests through a socket need a host name, which nobody resolves."""


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


@dataclass(frozen=True)
class Traffic:
    """What goes on between vedette and the engine, of requests for which the engine generates."""

    requests: int
    """Requests that are answered or wait for their answer."""
    received_bytes: int
    """Of all answers so far."""


class EngineClient:
    """A client of one engine."""

    def __init__(self, address: str | Path, model_name: str) -> None:
        """address: the URL of a server, without `/v1`, or the directory in which the engine has its socket."""
        self.base_url = address if isinstance(address, str) else _SOCKET_URL
        self.model_name = model_name
        self._directory = None if isinstance(address, str) else os.open(address, os.O_PATH | os.O_DIRECTORY)
        self._open: set[aiohttp.ClientResponse] = set()
        self._requests = 0
        self._ended_bytes = 0
        self._ending: EngineUnavailableError | None = None
        # vedette passes bytes on and does not decompress them: the browser or the caller does.
        # A new connection for each request: the engine closes idle ones, and a request sent then would be lost.
        # No limit on connections: the engine limits requests itself.
        connector: aiohttp.BaseConnector = aiohttp.TCPConnector(limit=0, force_close=True)
        if self._directory is not None:  # by its descriptor: the path of a socket has at most 107 bytes
            path = f"/proc/self/fd/{self._directory}/{SOCKET}"
            connector = aiohttp.UnixConnector(path, limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False)

    @property
    def traffic(self) -> Traffic:
        """What goes on now."""
        open_bytes = sum(each.content.total_bytes for each in self._open if _is_answer(each))
        return Traffic(self._requests, self._ended_bytes + open_bytes)

    async def close(self, cause: Cause | None = None) -> None:
        """Close all connections, and end every answer that is being read: aiohttp would leave its reader waiting.

        cause: why the engine ends; requests in progress raise it.
        """
        if self._ending is None:
            ending = cause.message if cause else Message("engine.just_stopped")
            self._ending = EngineUnavailableError(ending.code, **ending.params)
        for response in self._open:
            response.content.set_exception(aiohttp.ClientConnectionError("the engine has stopped"))
        await self._session.close()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    async def is_healthy(self) -> bool:
        """Whether `/health` answers 200; False while nothing listens."""
        try:
            async with self._session.get(
                f"{self.base_url}/health", timeout=aiohttp.ClientTimeout(total=CONNECT_TIMEOUT_S)
            ) as response:
                return response.status == HTTPStatus.OK
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return False

    async def read_metrics(self) -> str | None:
        """The text of the engine's `/metrics`; None if it does not arrive within a few seconds, or is too large."""
        try:
            async with self._session.get(
                f"{self.base_url}/metrics", timeout=aiohttp.ClientTimeout(total=CONNECT_TIMEOUT_S)
            ) as response:
                if response.status != HTTPStatus.OK:
                    return None
                page = await read_at_most(response.content.iter_any(), _MOST_METRICS_BYTES)
                return None if page is None else page.decode(errors="replace")
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return None

    async def read_page(self, path: str) -> str | None:
        """The text at an address of the engine; None if it is too large. Raises EngineUnavailableError."""
        async with self.request("GET", path, {"Accept-Encoding": "identity"}, None) as response:
            page = await read_at_most(response.content.iter_any(), _MOST_METRICS_BYTES)
        return None if page is None else page.decode(errors="replace")

    async def read_models(self) -> list[dict[str, Any]]:
        """The entries of the engine's `/v1/models`. Raises EngineUnavailableError, EngineAnswerError."""
        async with self.request("GET", "/v1/models", {"Accept-Encoding": "identity"}, None) as response:
            document = await read_at_most(response.content.iter_any(), _MOST_DOCUMENT_BYTES)
        try:
            return msgspec.json.decode(document or b"", type=_Models).data
        except (ValueError, RecursionError) as error:
            raise EngineAnswerError("engine.list_unreadable") from error

    @asynccontextmanager
    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | bytearray | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The engine's raw response to any request, before its body is read.

        Raises EngineUnreachableError if nothing listens, EngineUnavailableError if the engine stops during the request.
        """
        if self._session.closed:
            raise EngineUnreachableError("engine.just_stopped")
        counts = generates(method, path)
        silence_s = SILENCE_TIMEOUT_S if counts else _SERVER_SILENCE_S
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s)
        self._requests += counts
        try:
            async with self._session.request(
                method, f"{self.base_url}{path}", headers=headers, data=body, allow_redirects=False, timeout=timeout
            ) as response:
                self._open.add(response)
                try:
                    yield response
                finally:
                    self._open.discard(response)
                    if _is_answer(response):
                        self._ended_bytes += response.content.total_bytes
        except aiohttp.ClientConnectorError as error:
            raise EngineUnreachableError("engine.no_response", error=type(error).__name__) from error
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._ending or EngineUnavailableError("engine.no_response", error=type(error).__name__) from error
        finally:
            self._requests -= counts

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Delta, None]:
        """The answer to one chat request; body: as of OpenAI's `chat/completions`, without `model` and `stream`.

        Closing the iterator early ends the request, so that the engine stops generating.
        Raises RequestRefusedError if the engine refuses the request, EngineUnavailableError if it cannot answer,
        EngineAnswerError if its answer cannot be read.
        """
        payload = {
            **body,
            "model": self.model_name,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        data = json.dumps(payload).encode()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        async with self.request("POST", "/v1/chat/completions", headers, data) as response:
            chunks = response.content.iter_any()
            if response.status != HTTPStatus.OK:
                raise refusal(response.status, await read_at_most(chunks, _MOST_REFUSAL_BYTES) or b"")
            kind = response.headers.get("Content-Type", "")
            async with aclosing(read_deltas(chunks, kind, SILENCE_TIMEOUT_S)) as deltas:
                async for delta in deltas:
                    yield delta


def generates(method: str, path: str) -> bool:
    """Whether the engine generates for a request, as far as its address tells: an unknown one may."""
    return method not in _NO_SLOT_METHODS and not path.partition("?")[0].rstrip("/").endswith(_NO_SLOT_ENDS)


def _is_answer(response: aiohttp.ClientResponse) -> bool:
    """Whether a response comes from the engine's core: its server alone answers errors and some addresses."""
    return response.status == HTTPStatus.OK and generates(response.method, response.url.path)
