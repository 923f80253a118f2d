"""A server that somebody else runs: asked what it has and what that can do. What it says is read in external.py."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict

from vedette.engine.client import Delta, EngineClient
from vedette.engine.engine import sample_picture
from vedette.engine.hosts.server_facts import Facts, parse_base, parse_models, parse_props, parse_running, parse_show
from vedette.errors import ConfigError, EngineFailedError, EngineUnavailableError
from vedette.units import MIB

KEY_VARIABLE = "VEDETTE_ENGINE_KEY"
"""The environment variable with the server's API key: a secret, and so no setting."""
_PATIENCE_S = 30.0
"""How long a server may take to tell of itself."""
_MOST_DOCUMENT_BYTES = 4 * MIB
_QUESTION = "What do you see?"
_QUESTION_TOKENS = 8
"""Of its answer."""
_JSON = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class ExternalClient(EngineClient):
    """Talks to a model of somebody's server."""

    def __init__(self, base_url: str, model_name: str, key: str | None = None, efforts: bool = False) -> None:
        """key: sent with every request, in the place of what a caller may have sent. efforts: as in `Facts`."""
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
    """What can be asked of a server; every question may raise EngineUnavailableError."""

    def __init__(self, address: str, key: str | None) -> None:
        self._address = parse_base(address)
        self._key = key
        self._client = ExternalClient(self._address, "", key)
        self.name = re.sub("//[^/@]*@", "//", self._address)
        """Its address, without a password."""

    async def close(self) -> None:
        await self._client.close()

    def client(self, model: str, facts: Facts) -> ExternalClient:
        return ExternalClient(self._address, model, self._key, bool(facts.efforts))

    async def read_models(self) -> dict[str, Facts]:
        """The models that it has. Raises ConfigError when it is no OpenAI server, or lets nobody in with this key."""
        status, document = await self._read("GET", "/v1/models")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            what = "refuses the key" if self._key else "wants a key"
            raise ConfigError(f"The server at {self.name} {what}.", f"Set the right one in {KEY_VARIABLE}.")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise EngineUnavailableError(f"The server at {self.name} is not ready ({status}).", "Wait, or look there.")
        if status != HTTPStatus.OK or not isinstance(document, dict):
            raise ConfigError(
                f"What answers at {self.name} is no OpenAI server (status {status} for /v1/models).",
                "Let VEDETTE_ENGINE name one, like http://127.0.0.1:8000.",
            )
        return parse_models(document)

    async def is_loading(self) -> bool:
        """llama.cpp's server answers from its start, and says so while it loads; others do not answer before."""
        status, _ = await self._read("GET", "/health")
        return status == HTTPStatus.SERVICE_UNAVAILABLE

    async def read_facts(self, model: str, offered: Facts) -> Facts:
        """What it says of a model beside what its list did."""
        if offered.max_model_len is not None:
            return offered
        _, props = await self._read("GET", f"/props?model={quote(model, safe='')}")
        _, show = await self._read("POST", "/api/show", {"model": model})
        return offered | parse_props(props) | parse_show(show)

    async def read_running(self, model: str) -> Facts:
        """What it says of a model that has answered."""
        _, running = await self._read("GET", "/api/ps")
        return parse_running(running, model)

    async def _read(self, method: str, path: str, body: Mapping[str, object] | None = None) -> tuple[int, object]:
        """Status and JSON document; None for anything else."""
        data = None if body is None else json.dumps(body).encode()
        try:
            return await asyncio.wait_for(self._read_whole(method, path, data), _PATIENCE_S)
        except asyncio.TimeoutError as error:
            raise EngineUnavailableError(
                f"The server at {self.name} has said nothing for {_PATIENCE_S:.0f} seconds.", "Wait, or look there."
            ) from error
        except EngineUnavailableError as error:
            raise EngineUnavailableError(
                f"Nobody answers at {self.name}.", "Start the server there, or check VEDETTE_ENGINE."
            ) from error

    async def _read_whole(self, method: str, path: str, data: bytes | None) -> tuple[int, object]:
        async with self._client.request(method, path, _JSON, data) as answer:
            text = bytearray()
            async for chunk in answer.content.iter_any():
                text += chunk
                if len(text) > _MOST_DOCUMENT_BYTES:
                    return answer.status, None
            try:
                return answer.status, json.loads(text)
            except (ValueError, RecursionError):
                return answer.status, None


async def ask_words(client: EngineClient) -> tuple[bool, int | None]:
    """Asks a question, and returns whether it thought aloud and how many tokens the prompt was, if that is told.

    Raises EngineFailedError when nothing comes back, RequestRefusedError, EngineUnavailableError.
    """
    return await _ask(client, [{"type": "text", "text": _QUESTION}])


async def ask_of_picture(client: EngineClient, max_pixels: int, words_tokens: int | None) -> int | None:
    """Asks about a picture and returns how many tokens it took, if that is told.

    words_tokens: those of the same question without one. Raises as `ask_words` does: RequestRefusedError of a model
    that sees none.
    """
    url = await asyncio.to_thread(sample_picture, max_pixels)
    picture: dict[str, object] = {"type": "image_url", "image_url": {"url": url}}
    _, tokens = await _ask(client, [picture, {"type": "text", "text": _QUESTION}])
    return None if tokens is None or words_tokens is None else max(0, tokens - words_tokens) or None


async def _ask(client: EngineClient, content: list[dict[str, object]]) -> tuple[bool, int | None]:
    thought = answered = False
    tokens = None
    async with aclosing(
        client.stream_chat({"messages": [{"role": "user", "content": content}], "max_tokens": _QUESTION_TOKENS})
    ) as deltas:
        async for delta in deltas:
            thought |= bool(delta.reasoning)
            answered |= bool(delta.content or delta.reasoning or delta.finish_reason)
            tokens = delta.usage.prompt_tokens if delta.usage else tokens
    if not answered:
        raise EngineFailedError("The server answered a test question with nothing.", "Look at what it says there.")
    return thought, tokens
