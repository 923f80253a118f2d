"""Reads from a server that vedette does not run which models it has and what each can do."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from multidict import CIMultiDict

from vedette.engine.chat_stream import Delta
from vedette.engine.client import EngineClient
from vedette.engine.engine import sample_picture
from vedette.engine.hosts.server_facts import Facts, parse_base, parse_models, parse_props, parse_running, parse_show
from vedette.errors import ConfigError, EngineFailedError, EngineUnavailableError
from vedette.outputs import read_at_most
from vedette.units import MIB

KEY_VARIABLE = "VEDETTE_ENGINE_KEY"
"""The environment variable with the server's API key: a secret, and therefore not a setting."""
_TIMEOUT_S = 30.0
"""Limit for a server's answer about itself."""
_MOST_DOCUMENT_BYTES = 4 * MIB
_QUESTION = "What do you see?"
_ANSWER_TOKENS = 8
_JSON = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class ExternalClient(EngineClient):
    """A client of one model of an external server."""

    def __init__(self, base_url: str, model_name: str, key: str | None = None, efforts: bool = False) -> None:
        """key: replaces the key of every request. efforts: as in `Facts`."""
        super().__init__(base_url, model_name)
        self._key = key
        self._efforts = efforts

    @asynccontextmanager
    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | bytearray | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._key:
            headers = CIMultiDict(headers)
            headers["Authorization"] = f"Bearer {self._key}"
        async with super().request(method, path, headers, body) as response:
            yield response

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Delta, None]:
        thinking = body.get("chat_template_kwargs", {}).get("enable_thinking")
        if self._efforts and thinking is False:
            body = {**body, "reasoning_effort": "none"}
        async with aclosing(super().stream_chat(body)) as deltas:
            async for delta in deltas:
                yield delta


class ExternalServer:
    """The questions that a server answers; each may raise EngineUnavailableError."""

    def __init__(self, address: str, key: str | None) -> None:
        self._address = parse_base(address)
        self._key = key
        self._client = ExternalClient(self._address, "", key)
        self.name = re.sub("//[^/@]*@", "//", self._address)
        """The server's address, without a password."""

    async def close(self) -> None:
        await self._client.close()

    def client(self, model: str, facts: Facts) -> ExternalClient:
        return ExternalClient(self._address, model, self._key, bool(facts.efforts))

    async def read_models(self, within_s: float = _TIMEOUT_S) -> dict[str, Facts]:
        """The server's models. Raises ConfigError if it is not an OpenAI server, or refuses the key."""
        status, document = await self._read("GET", "/v1/models", within_s=within_s)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            if self._key:
                raise ConfigError("engine.server_refuses_key", server=self.name, variable=KEY_VARIABLE)
            raise ConfigError("engine.server_wants_key", server=self.name, variable=KEY_VARIABLE)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise EngineUnavailableError("engine.server_not_ready", server=self.name, status=status)
        if status != HTTPStatus.OK or not isinstance(document, dict):
            raise ConfigError("engine.server_not_openai", server=self.name, status=status)
        return parse_models(document)

    async def is_loading(self) -> bool:
        """Whether the server is loading its model: llama.cpp's answers 503 meanwhile, others do not answer at all."""
        status, _ = await self._read("GET", "/health")
        return status == HTTPStatus.SERVICE_UNAVAILABLE

    async def read_facts(self, model: str, offered: Facts) -> Facts:
        """The facts of a model: from the list of models, then from the server's documents about the model."""
        if offered.max_model_len is not None:
            return offered
        _, props = await self._read("GET", f"/props?model={quote(model, safe='')}")
        _, show = await self._read("POST", "/api/show", {"model": model})
        return offered | parse_props(props) | parse_show(show)

    async def read_running(self, model: str) -> Facts:
        """The facts of a loaded model."""
        _, running = await self._read("GET", "/api/ps")
        return parse_running(running, model)

    async def _read(
        self, method: str, path: str, body: Mapping[str, object] | None = None, within_s: float = _TIMEOUT_S
    ) -> tuple[int, object]:
        """Status and JSON document of a response; the document is None if it is not JSON, or too large."""
        data = None if body is None else json.dumps(body).encode()
        try:
            return await asyncio.wait_for(self._read_whole(method, path, data), within_s)
        except asyncio.TimeoutError as error:
            raise EngineUnavailableError("engine.server_silent", server=self.name, silence_s=within_s) from error
        except EngineUnavailableError as error:
            raise EngineUnavailableError("engine.server_unreachable", server=self.name) from error

    async def _read_whole(self, method: str, path: str, data: bytes | None) -> tuple[int, object]:
        async with self._client.request(method, path, _JSON, data) as response:
            document = await read_at_most(response.content.iter_any(), _MOST_DOCUMENT_BYTES)
            try:
                return response.status, None if document is None else msgspec.json.decode(document)
            except (ValueError, RecursionError):
                return response.status, None


async def probe_text(client: EngineClient) -> tuple[bool, int | None]:
    """Ask a question; return whether the answer had reasoning, and the prompt's tokens (None if not counted).

    Raises EngineFailedError if the answer is empty, RequestRefusedError, EngineUnavailableError.
    """
    return await _probe(client, [{"type": "text", "text": _QUESTION}])


async def probe_picture(client: EngineClient, max_pixels: int, words_tokens: int | None) -> int | None:
    """Ask about a picture; return the tokens that it took (None if not counted).

    words_tokens: tokens of the same question without a picture. Raises like `probe_text`; RequestRefusedError if the
    model takes no pictures.
    """
    url = await asyncio.to_thread(sample_picture, max_pixels)
    picture: dict[str, object] = {"type": "image_url", "image_url": {"url": url}}
    _, tokens = await _probe(client, [picture, {"type": "text", "text": _QUESTION}])
    return None if tokens is None or words_tokens is None else max(0, tokens - words_tokens) or None


async def _probe(client: EngineClient, content: list[dict[str, object]]) -> tuple[bool, int | None]:
    reasoned = answered = False
    tokens = None
    async with aclosing(
        client.stream_chat({"messages": [{"role": "user", "content": content}], "max_tokens": _ANSWER_TOKENS})
    ) as deltas:
        async for delta in deltas:
            reasoned |= bool(delta.reasoning)
            answered |= bool(delta.content or delta.reasoning or delta.finish_reason)
            tokens = delta.usage.prompt_tokens if delta.usage else tokens
    if not answered:
        raise EngineFailedError("engine.server_empty_answer")
    return reasoned, tokens
