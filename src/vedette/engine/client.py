"""The one OpenAI client: how everything else in vedette talks to a running engine."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from vedette.errors import EngineUnavailableError, EngineUnreachableError, RequestRefusedError

CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 300.0
"""How long an engine may say nothing within one answer: a long prompt on a slow board, not a dead engine."""


@dataclass(frozen=True)
class Usage:
    """Tokens as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Delta:
    """One step of a streamed answer; at most one of the texts is not empty."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


class EngineClient:
    """Talks to one engine on `base_url` (`http://127.0.0.1:PORT`, without `/v1`)."""

    def __init__(self, base_url: str, model_name: str) -> None:
        self.base_url = base_url
        self.model_name = model_name
        self._open: set[aiohttp.ClientResponse] = set()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S)
        # Bytes pass through untouched: the browser or the caller decompresses, not vedette.
        # The engine closes idle connections, and a request sent at that moment would be lost: each takes a new one.
        # How many may run at once is the engine's affair.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, trust_env=False
        )

    async def close(self) -> None:
        """Ends every answer that is still being read: aiohttp would leave its reader waiting."""
        for response in self._open:
            response.content.set_exception(aiohttp.ClientConnectionError("the engine is stopped"))
        await self._session.close()

    async def is_healthy(self) -> bool:
        """Whether `/health` answers 200; False, never an error, while nothing listens."""
        try:
            async with self._session.get(
                f"{self.base_url}/health", timeout=aiohttp.ClientTimeout(total=CONNECT_TIMEOUT_S)
            ) as response:
                return response.status == HTTPStatus.OK
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return False

    async def read_metrics(self) -> str | None:
        """The engine's page of metrics; None, never an error, if it does not come within a few seconds."""
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
        """The engine's raw answer to any request, its body not yet read.

        Raises EngineUnavailableError when the engine goes, EngineUnreachableError when it was gone before.
        """
        if self._session.closed:
            raise EngineUnreachableError("The engine has just been stopped.", "Ask again in a moment.")
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
            raise EngineUnreachableError(_gone(error).sentence, _gone(error).hint) from error
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise _gone(error) from error

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Delta, None]:
        """Answer to one chat request (an OpenAI `chat/completions` body without `model` and `stream`).

        Closing the iterator early ends the request, so that the engine stops generating.
        Raises RequestRefusedError when the engine says no, EngineUnavailableError when it is gone.
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
    """One line of the event stream; None for blank lines, comments and `[DONE]`.

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
    counted = chunk.get("usage")
    usage = Usage(counted["prompt_tokens"], counted.get("completion_tokens") or 0) if counted else None
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
        message = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, AttributeError, KeyError):
        message = text[:300].strip()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return EngineUnavailableError(
            f"The engine failed on this request ({status}): {message}", "Try again, or see `vedette logs`."
        )
    return RequestRefusedError(
        f"The engine refused the request ({status}): {message}", "Change the request as it says."
    )


def _gone(error: Exception) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"The engine does not answer ({type(error).__name__}).",
        "Wait until `vedette status` says ready, then try again.",
    )
