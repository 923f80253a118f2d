"""Requests that ask for too much or make no sense, put to real vLLM: refused at once, and nobody waits for them."""

import io
import json
import time
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest

from tests.rig.chat import CHAT, question
from tests.rig.processes import Vedette

TEXTS = "/v1/completions"
REFUSED_WITHIN_S = 1.0
"""Real time, also on a busy machine: a refusal that waits for the engine's death would take 1.5 s longer."""
SERVED_WITHIN_S = 20.0


def chat(**fields: object) -> dict[str, object]:
    return question() | fields


def schema(value: object) -> dict[str, object]:
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": value}})


def picture(url: str) -> dict[str, object]:
    return question({"type": "image_url", "image_url": {"url": url}})


LOOP = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
SENSELESS: Mapping[str, tuple[str, object]] = {
    "nested JSON": (CHAT, b'{"a":' * 1000 + b"1" + b"}" * 1000),
    "a file": (CHAT, picture("file:///etc/passwd")),
    "a missing picture": (CHAT, picture("")),
    "half a picture": (CHAT, picture("data:image/png;base64,iVBORw0KGgo=")),
    "an empty conversation": (CHAT, chat(messages=[[]])),
    "no conversation": (CHAT, chat(messages=[])),
    "a message that is a text": (CHAT, chat(messages=["hi"])),
    "a message that is null": (CHAT, chat(messages=[None])),
    "content that is a number": (CHAT, chat(messages=[{"role": "user", "content": 7}])),
    "content of numbers": (CHAT, chat(messages=[{"role": "user", "content": [7]}])),
    "a part without a type": (CHAT, chat(messages=[{"role": "user", "content": [{}]}])),
    "a tool call without a name": (
        CHAT,
        chat(messages=[{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]),
    ),
    "a loop of references": (CHAT, schema(LOOP)),
    "a reference to nothing": (CHAT, schema({"$ref": "#/$defs/nothing"})),
    "a type that nobody has": (CHAT, schema({"type": "sparkle"})),
    "a schema that is a list": (CHAT, schema([1])),
    "a regex that never ends": (CHAT, chat(structured_outputs={"regex": "("})),
    "a grammar without a root": (CHAT, chat(structured_outputs={"grammar": "a ::= a"})),
    "choices of nothing": (CHAT, chat(structured_outputs={"choice": []})),
    "a tag that is no JSON": (CHAT, chat(structured_outputs={"structural_tag": "{"})),
    "no answer": (CHAT, chat(max_tokens=0)),
    "fewer than none": (CHAT, chat(max_tokens=-5)),
    "no choice": (CHAT, chat(n=0)),
    "a hot temperature": (CHAT, chat(temperature=1e300)),
    "a large seed": (CHAT, chat(seed=2**70)),
    "a token that is none": (CHAT, chat(logit_bias={"999999999": 1})),
    "a bias for a word": (CHAT, chat(logit_bias={"word": 1})),
    "stops of nothing": (CHAT, chat(stop=[""])),
    "a bad word of nothing": (CHAT, chat(bad_words=[""])),
    "allowed tokens that are none": (CHAT, chat(allowed_token_ids=[10**9])),
    "stop tokens that are none": (CHAT, chat(stop_token_ids=[-(10**9)])),
    "a token id that is none": (TEXTS, {"prompt": [10**9], "max_tokens": 1}),
    "token ids below zero": (TEXTS, {"prompt": [-1], "max_tokens": 1}),
    "an empty prompt": (TEXTS, {"prompt": [], "max_tokens": 1}),
    "a large token id": (TEXTS, {"prompt": [2**63], "max_tokens": 1}),
    "a long prompt": (TEXTS, {"prompt": "a " * 20_000, "max_tokens": 1}),
    "an answer to nothing": ("/v1/responses", {"input": []}),
    "an earlier answer": ("/v1/responses", {"input": "hi", "previous_response_id": "resp_1"}),
    "an item that is none": ("/v1/responses", {"input": [{"type": "sparkle"}]}),
    "a message to Anthropic": ("/v1/messages", {"model": "vedette-tiny", "max_tokens": 4, "messages": [[]]}),
    "a block that is none": (
        "/v1/messages",
        {"model": "vedette-tiny", "max_tokens": 4, "messages": [{"role": "user", "content": [{"type": "sparkle"}]}]},
    ),
    "count nothing": ("/v1/messages/count_tokens", {"model": "vedette-tiny", "messages": []}),
}  # fmt: skip


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(
    http: aiohttp.ClientSession, running: Vedette, path: str, body: object, **headers: str
) -> tuple[int, str, float]:
    """Status, text and seconds of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    began = time.monotonic()
    sent = {"Content-Type": "application/json"} | headers
    async with http.post(running.url + path, data=io.BytesIO(data), headers=sent) as answer:
        text = await answer.text()
    return answer.status, text, time.monotonic() - began


@pytest.mark.parametrize("name", SENSELESS)
async def test_a_request_that_makes_no_sense_is_refused_at_once(
    http: aiohttp.ClientSession, running_vedette: Vedette, name: str
) -> None:
    path, body = SENSELESS[name]
    status, text, took_s = await post(http, running_vedette, path, body)
    assert status in (400, 404, 422), (status, text)
    assert "error" in text
    assert took_s < REFUSED_WITHIN_S
