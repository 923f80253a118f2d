"""Requests that ask for too much or make no sense, put to real vLLM: refused at once, and nobody waits for them."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.rig.chat import CHAT, question
from tests.rig.processes import Vedette, start_vedette, stop_process

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
    "an endless temperature": (CHAT, json.dumps(chat(temperature=7)).replace("7", "1e999").encode()),
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
    "as many unusual items as may be": ("/v1/responses", {"input": [{"type": "x"}] * 16}),
    "items that are none": ("/v1/responses", {"input": [{"type": "x"}] * 10_000}),
    "parts that are none": ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "x"}] * 10_000}]}),
    "tools that are none": ("/v1/responses", {"input": "hi", "tools": [{"type": "x"}] * 100}),
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


async def bystander(http: aiohttp.ClientSession, running: Vedette) -> float:
    """How long somebody waits who asks a short question, in seconds."""
    status, text, took_s = await post(http, running, CHAT, question(max_tokens=8))
    assert status == 200, text
    return took_s


async def test_two_thousand_answers_at_once_keep_nobody_waiting(
    http: aiohttp.ClientSession, running_vedette: Vedette
) -> None:
    greedy = [
        asyncio.ensure_future(post(http, running_vedette, path, body))
        for path, body in (
            (CHAT, chat(n=2000, max_tokens=50)),
            (CHAT, chat(n=2000, max_tokens=50, use_beam_search=True)),
            (TEXTS, {"prompt": ["Once"] * 2000, "max_tokens": 50}),
            (TEXTS, {"prompt": "Once", "best_of": 2000, "max_tokens": 50}),
        )
    ]
    assert await bystander(http, running_vedette) < SERVED_WITHIN_S
    for status, text, _ in await asyncio.gather(*greedy):
        assert (status, "answers at once" in text) == (400, True), text


async def test_as_many_answers_as_planned_are_given(http: aiohttp.ClientSession, running_vedette: Vedette) -> None:
    most = running_vedette.status()["plan"]["context"]["concurrency"]
    status, text, _ = await post(http, running_vedette, CHAT, question(max_tokens=4, n=most, temperature=0.5))
    assert status == 200, text
    assert len(json.loads(text)["choices"]) == most


async def test_callers_mistakes_leave_little_in_the_log(http: aiohttp.ClientSession, own_home: Path) -> None:
    """Also mistakes that no handler sees: neither tracebacks nor a line for each."""
    log = own_home / "stderr"
    vedette = start_vedette(own_home, stderr=log)
    try:
        vedette.wait_for(lambda event: event["event"] == "listening")
        nested = b'{"a":' * 1000 + b"1" + b"}" * 1000
        for _ in range(100):
            assert (await post(http, vedette, CHAT, nested))[0] == 400
            assert (await post(http, vedette, CHAT, b"junk", **{"Content-Encoding": "gzip"}))[0] == 400
            reader, writer = await asyncio.open_connection("127.0.0.1", vedette.port)
            writer.write(b"GET / HTTP/1.1\r\nBad Header\x01: x\r\n\r\n")
            assert b" 400 " in (await reader.read()).partition(b"\r\n")[0]
            writer.close()
        assert "Traceback" not in vedette.stderr_text
        assert len(vedette.stderr_text) < 4000
    finally:
        stop_process(vedette.process)
