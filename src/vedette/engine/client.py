"""The OpenAI client that all of vedette uses to talk to a running engine."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from vedette.engine.process.process_command import SOCKET
from vedette.errors import EngineUnavailableError, EngineUnreachableError, RequestRefusedError

CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 300.0
"""Limit for silence within an answer: a long prompt on a slow board takes minutes."""
_MOST_ERROR_CHARACTERS = 300
_SOCKET_URL = "http://engine"
"""Requests through a socket need a host name, which nobody resolves."""


@dataclass(frozen=True)
class Usage:
    """Tokens of a request, as the engine counts them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Delta:
    """One step of a streamed answer; at most one of its two texts is not empty."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


class EngineClient:
    """A client of one engine."""

    def __init__(self, address: str | Path, model_name: str) -> None:
        """address: the URL of a server, without `/v1`, or the directory in which the engine has its socket."""
        self.base_url = address if isinstance(address, str) else _SOCKET_URL
        self.model_name = model_name
        self._directory = None if isinstance(address, str) else os.open(address, os.O_PATH | os.O_DIRECTORY)
        self._open: set[aiohttp.ClientResponse] = set()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S)
        # vedette passes bytes on and does not decompress them: the browser or the caller does.
        # A new connection for each request: the engine closes idle ones, and a request sent then would be lost.
        # No limit on connections: the engine limits requests itself.
        connector: aiohttp.BaseConnector = aiohttp.TCPConnector(limit=0, force_close=True)
        if self._directory is not None:  # by its descriptor: the path of a socket has at most 107 bytes
            path = f"/proc/self/fd/{self._directory}/{SOCKET}"
            connector = aiohttp.UnixConnector(path, limit=0, force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, trust_env=False
        )

    async def close(self) -> None:
        """Close all connections, and end every answer that is being read: aiohttp would leave its reader waiting."""
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
        """The text of the engine's `/metrics`; None if it does not arrive within a few seconds."""
        try:
            async with self._session.get(
                f"{self.base_url}/metrics", timeout=aiohttp.ClientTimeout(total=CONNECT_TIMEOUT_S)
            ) as response:
                return await response.text() if response.status == HTTPStatus.OK else None
        except (aiohttp.ClientError, asyncio.TimeoutError, UnicodeDecodeError):
            return None

    @asynccontextmanager
    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | bytearray | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The engine's raw response to any request, before its body is read.

        Raises EngineUnreachableError if nothing listens, EngineUnavailableError if the engine stops during the request.
        """
        if self._session.closed:
            raise EngineUnreachableError("engine.just_stopped")
        try:
            async with self._session.request(
                method, f"{self.base_url}{path}", headers=headers, data=body, allow_redirects=False
            ) as response:
                self._open.add(response)
                try:
                    yield response
                finally:
                    self._open.discard(response)
        except aiohttp.ClientConnectorError as error:
            raise EngineUnreachableError("engine.no_response", error=type(error).__name__) from error
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise EngineUnavailableError("engine.no_response", error=type(error).__name__) from error

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Delta, None]:
        """The answer to one chat request; body: as of OpenAI's `chat/completions`, without `model` and `stream`.

        Closing the iterator early ends the request, so that the engine stops generating.
        Raises RequestRefusedError if the engine refuses the request, EngineUnavailableError if it cannot answer.
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
            if response.status != HTTPStatus.OK:
                raise _refusal(response.status, await response.text())
            async for line in response.content:
                delta = parse_event(line)
                if delta is not None:
                    yield delta


def parse_event(line: bytes) -> Delta | None:
    """The step in one line of the event stream; None for blank lines, comments and `[DONE]`.

    Raises RequestRefusedError for an error that the engine sends in the middle of a stream.
    """
    if not line.startswith(b"data:"):
        return None
    text = line[5:].strip()
    if text == b"[DONE]":
        return None
    chunk = json.loads(text)
    if "error" in chunk:
        raise _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, text.decode())
    counts = chunk.get("usage")
    usage = Usage(counts["prompt_tokens"], counts.get("completion_tokens") or 0) if counts else None
    choices = chunk.get("choices")
    if not choices:  # usage arrives as a last chunk without choices
        return Delta(usage=usage)
    delta = choices[0].get("delta") or {}
    return Delta(
        content=delta.get("content") or "",
        reasoning=delta.get("reasoning") or delta.get("reasoning_content") or "",
        finish_reason=choices[0].get("finish_reason"),
        usage=usage,
    )


def _refusal(status: int, text: str) -> EngineUnavailableError | RequestRefusedError:
    try:
        error = json.loads(text).get("error")
        reason = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, AttributeError, KeyError):
        reason = text[:_MOST_ERROR_CHARACTERS].strip()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return EngineUnavailableError("engine.request_failed", status=int(status), error=reason)
    return RequestRefusedError("engine.request_refused", status=int(status), error=reason)
