"""Requests that ask for too much are refused with the numbers, on every way in; honest ones pass byte for byte."""

import asyncio
import base64
import dataclasses
import gzip
import io
import json
import logging
import re
import zlib
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.rig.stand_ins.app_stand_in import CONTEXT, Deployment, Fleet, Page, Upstream, jpeg_of_size
from vedette.plan.plan import Context
from vedette.serve.admission.request_limits import MOST_VALUES
from vedette.serve.api.endpoints import ENDPOINTS

JPEG = base64.b64encode(jpeg_of_size()).decode()
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{JPEG}"}}
CHAT = "/v1/chat/completions"
TEXTS = "/v1/completions"
RESPONSES = "/v1/responses"


def message(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


def chat(**fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "hi"}], **fields}


def deep(levels: int, inside: object = 1) -> object:
    for _ in range(levels):
        inside = {"a": inside}
    return inside


def schema(value: object) -> dict[str, object]:
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": value}})


async def refusal(http: aiohttp.ClientSession, url: str, body: object, path: str = CHAT) -> tuple[int, str]:
    """The status of an answer and its error's message."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(f"{url}{path}", data=io.BytesIO(data)) as answer:
        if answer.content_type != "application/json":
            return answer.status, await answer.text()
        return answer.status, str((await answer.json()).get("error", {}).get("message"))


TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"properties": {f"p{n}": {"minimum": 1} for n in range(150)}}},
}
"""A tool with many ranges."""

REFUSED: Mapping[str, tuple[str, object, str]] = {
    "many answers": (CHAT, chat(n=2000), "2,000 answers at once"),
    "n as a text": (CHAT, chat(n="2000"), "`n` is not a whole number"),
    "best_of": (TEXTS, {"prompt": "a", "best_of": 7}, "7 answers at once"),
    "a wide beam": (CHAT, chat(n=500, use_beam_search=True), "500 answers at once"),
    "a batch of texts": (TEXTS, {"prompt": ["a"] * 300}, "300 answers at once"),
    "a batch of token ids": (TEXTS, {"prompt": [[1, 2]] * 40}, "40 answers at once"),
    "a batch of conversations": (f"{CHAT}/batch", {"messages": [[message()]] * 9}, "9 answers at once"),
    "more tokens than the context": (CHAT, chat(max_tokens=10**9), "the context of the plan has 2,048 tokens"),
    "more completion tokens": (CHAT, chat(max_completion_tokens=2049), "2,049"),
    "more output tokens": ("/v1/responses", {"input": "hi", "max_output_tokens": 5000}, "5,000"),
    "tokens as a text": (CHAT, chat(min_tokens="99999"), "not a whole number"),
    "ids to stop at, not at once": (CHAT, chat(stop_token_ids=[10**7], min_tokens=5), "`stop_token_ids` together with"),
    "the whole vocabulary": (TEXTS, {"prompt": "a", "logprobs": -1}, "the most is 20"),
    "many log-probabilities": (CHAT, chat(logprobs=True, top_logprobs=21), "`top_logprobs` is 21"),
    "those of the prompt": (CHAT, chat(prompt_logprobs=0), "log-probabilities of the prompt"),
    "those of an echo": (TEXTS, {"prompt": "a", "echo": True, "logprobs": 1}, "log-probabilities of the prompt"),
    "stops": (CHAT, chat(stop=["x"] * 65), "`stop` is 65; the most is 64"),
    "bad words": (CHAT, chat(bad_words=["x"] * 1000), "`bad_words`"),
    "biases": (CHAT, chat(logit_bias={str(n): 1 for n in range(2000)}), "`logit_bias`"),
    "tools": (CHAT, chat(tools=[{}] * 129), "`tools`"),
    "repetition": (CHAT, chat(repetition_detection={"max_pattern_size": 10**9}), "repetition_detection"),
    "a template": (CHAT, chat(chat_template="{% for a in range(10**9) %}{% endfor %}"), "`chat_template`"),
    "a hidden template": (CHAT, chat(chat_template_kwargs={"chat_template": "x"}), "chat_template_kwargs"),
    "a processor": (CHAT, chat(mm_processor_kwargs={"max_pixels": 10**9}), "`mm_processor_kwargs`"),
    "a reader": (CHAT, chat(media_io_kwargs={"video": {"num_frames": -1}}), "`media_io_kwargs`"),
    "no message": (CHAT, {"messages": []}, "no messages"),
    "no conversation": (CHAT, {"messages": [[]]}, "no messages"),
    "a number as message": (CHAT, {"messages": [1]}, "messages[0]"),
    "two pictures": (CHAT, {"messages": [message(PICTURE), message(PICTURE)]}, "has 2 pictures"),
    "pictures in system": (CHAT, {"messages": [{"role": "system", "content": [PICTURE] * 3}]}, "has 3 pictures"),
    "pictures of no type": (
        CHAT,
        {"messages": [message({**PICTURE, "type": None, "uuid": "u"}, PICTURE)]},
        "2 pictures",
    ),
    "a picture elsewhere": (
        CHAT,
        {"messages": [message({"type": "image_url", "image_url": {"url": "http://10.0.0.1/a.png"}})]},
        "http://10.0.0.1/a.png, and vedette fetches nothing",
    ),
    "a file": (
        CHAT,
        {"messages": [message({"type": "image_url", "image_url": "file:///etc/passwd"})]},
        "vedette fetches nothing",
    ),
    "a file to Responses": (
        "/v1/responses",
        {"input": [message({"type": "input_image", "image_url": "file:///etc/passwd"})]},
        "vedette fetches nothing",
    ),
    "a file to Messages": (
        "/v1/messages",
        {"messages": [message({"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}})]},
        "vedette fetches nothing",
    ),
    "a file to rank": (
        "/v1/rerank",
        {"query": "a", "documents": {"content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}},
        "vedette fetches nothing",
    ),
    "a file to rank, with a chat's messages": (
        "/v1/score",
        {**chat(), "text_1": "a", "documents": [{"image_url": "file:///etc/passwd"}]},
        "vedette fetches nothing",
    ),
    "pictures in a tool's result": (
        "/v1/messages",
        {
            "messages": [
                message(
                    {
                        "type": "tool_result",
                        "content": [{"type": "image", "source": {"type": "base64", "data": JPEG}}] * 2,
                    }
                )
            ]
        },
        "has 2 pictures",
    ),
    "sound": (CHAT, {"messages": [message({"type": "input_audio", "input_audio": {"data": "AAAA"}})]}, "sound"),
    "sound elsewhere": (CHAT, {"messages": [message({"audio_url": {"url": "data:,"}})]}, "sound"),
    "tensors of a picture": (CHAT, {"messages": [message({"type": "image_embeds", "image_embeds": "AA"})]}, "tensors"),
    "tensors of a prompt": (TEXTS, {"prompt": "a", "prompt_embeds": "AAAA"}, "tensors"),
    "long text": (CHAT, {"messages": [{"role": "user", "content": "a" * 10**6}]}, "bytes of text"),
    "long text in a field that nobody knows": (CHAT, chat(note="a" * 10**6), "a context of 2,048 tokens"),
    "many values": (CHAT, chat(note=[[]] * 100_000), "values; at most"),
    "too many for any plan": (CHAT, chat(note=[[]] * (MOST_VALUES + 1)), "values; at most"),
    "depth": (CHAT, chat(note=deep(200)), "inside each other"),
    "more depth than Python has": (CHAT, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "inside each other"),
    "many items in short": (
        CHAT,
        b'{"messages":[{}],"structured_outputs":{"json":{"minItems":1e12}}}',
        "the most is 100,000",
    ),
    "properties in short": (
        CHAT,
        b'{"messages":[{}],"structured_outputs":{"json":"{\\"properties\\":{\\"a\\":{}},\\"minProperties\\":3e3}"}}',
        "takes 3,021 steps",
    ),
    "no JSON": (CHAT, b'{"messages": ', "not valid JSON"),
    "another encoding": (CHAT, '{"messages": []}'.encode("utf-16"), "not valid JSON"),
    "a number that is none": (CHAT, b'{"temperature": NaN}', "not valid JSON"),
    "half a character": (CHAT, b'{"model": "\xff"}', "not valid JSON"),
    "a deep schema": (CHAT, schema(deep(70)), "more than 64 objects"),
    "a schema as a text": (CHAT, chat(structured_outputs={"json": json.dumps(deep(70))}), "more than 64 objects"),
    "a large schema": (CHAT, schema({"description": "x" * 70_000}), "schemas and grammars"),
    "a long enum": (CHAT, schema({"enum": list(range(2001))}), "takes 2,001 steps"),
    "a loop": (
        CHAT,
        schema({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        "leads back to itself",
    ),
    "a loop to the root": (CHAT, schema({"$ref": "#"}), "leads back to itself"),
    "a loop in a tool": (
        CHAT,
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {"$ref": "#"}}}]),
        "leads back to itself",
    ),
    "many formats": (
        CHAT,
        schema({"properties": {f"p{n}": {"type": "string", "format": "ipv6"} for n in range(120)}}),
        "takes 2,520 steps",
    ),
    "many optional properties": (
        CHAT,
        schema({"properties": {f"p{n}": {} for n in range(100)}, "minProperties": 50}),
        "takes 5,120 steps",
    ),
    "ranges of a tool that must be used": (
        CHAT,
        chat(tools=[TOOL], tool_choice="required"),
        "takes 3,150 steps",
    ),
    "many items": (CHAT, schema({"type": "array", "minItems": 10**12}), "items or characters in one place"),
    "a pattern": (CHAT, schema({"type": "string", "pattern": "((a{100}){100}){100}"}), "1,000,000 characters"),
    "a long regex": (CHAT, chat(structured_outputs={"regex": "(a|b)*" * 800}), "has 4,800 characters"),
    "a long stop": (CHAT, chat(stop=["x" * 9000]), "`stop` has 9,000 characters"),
    "a long bad word": (CHAT, chat(bad_words=["x" * 4100] * 2), "`bad_words` has 8,200 characters"),
    "a long name": (CHAT, chat(request_id="x" * 300), "`request_id` has 300 characters"),
    "a text to be cut": (TEXTS, {"prompt": "a" * 20_000, "truncate_prompt_tokens": 5}, "`prompt` has 20,000"),
    "items that are none": (RESPONSES, {"input": [{"type": "x"}] * 17}, "`input[16]`"),
    "numbers as items": (RESPONSES, {"input": [7] * 17}, "More than 16 items"),
    "calls without a name": (RESPONSES, {"input": [{"type": "function_call", "name": "a"}] * 17}, "More than 16"),
    "parts that are none": (RESPONSES, {"input": [message(*[{"type": "x"}] * 17)]}, "`input[0]`"),
    "a regex": (CHAT, chat(structured_outputs={"regex": "([ab]{99}c){1,999}"}), "198,801 characters"),
    "a guided regex": (CHAT, chat(guided_regex="a{1000000}"), "1,000,000 characters"),
    "many patterns": (
        CHAT,
        schema({"properties": {f"p{n}": {"pattern": "^(a{1,50}b{1,50}){1,30}$"} for n in range(60)}}),
        "180,120 characters",
    ),
    "patterns of names": (CHAT, schema({"patternProperties": {"a{90000}": {}}}), "90,000 characters"),
    "a grammar of stars": (
        CHAT,
        chat(structured_outputs={"grammar": "root ::= " + '("a"|"b")* ' * 600}),
        "has 600 repetitions without an end",
    ),
    "a grammar": (
        CHAT,
        chat(structured_outputs={"grammar": 'root ::= ("a"{1000}){1000}'}),
        "characters with their repetitions",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_that_asks_for_too_much_is_refused_with_the_numbers(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, body, words = REFUSED[name]
    status, text = await refusal(http, url, body, path)
    assert (status, words in text) == (400, True), text
    assert not upstream.bodies
    assert not upstream.paths
    assert "Traceback" not in caplog.text


PASSED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "a question": (CHAT, chat(max_tokens=64, temperature=0.2, stream=True)),
    "ids to stop at": (CHAT, chat(stop_token_ids=[7], min_tokens=0)),
    "a least length": (CHAT, chat(min_tokens=5, stop=["."])),
    "a picture": (CHAT, {"messages": [message({"type": "text", "text": "What?"}, PICTURE)]}),
    "a field of tomorrow": (CHAT, chat(sparkle={"level": 3})),
    "documents to read": (CHAT, chat(documents=[{"title": "A star", "image_url": "http://a.example/star.png"}])),
    "no thinking": (CHAT, chat(chat_template_kwargs={"enable_thinking": False})),
    "token ids": (TEXTS, {"prompt": list(range(2000)), "max_tokens": 8}),
    "a long conversation": (
        RESPONSES,
        {
            "input": [
                {"role": "user", "content": "Look."},
                {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "1", "status": "completed"},
                {"type": "function_call_output", "call_id": "1", "output": "a star"},
                {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Stars."}]},
                {
                    "type": "message",
                    "role": "assistant",
                    "id": "m",
                    "content": [{"type": "output_text", "text": "A star.", "annotations": []}],
                },
                {"role": "user", "content": [{"type": "input_text", "text": "Which?"}]},
            ]
            * 20
        },
    ),
    "texts to embed": ("/v1/embeddings", {"input": ["a star"] * 20}),
    "one text in a list": (TEXTS, {"prompt": ["Once upon a time"]}),
    "one conversation": (f"{CHAT}/batch", {"messages": [[message()]]}),
    "tools": (
        CHAT,
        chat(
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": "show",
                        "parameters": {"type": "object", "properties": {"image_url": {"type": "string"}}},
                    },
                }
            ]
        ),
    ),
    "ranges of a tool that may be used": (CHAT, chat(tools=[TOOL], tool_choice="auto")),
    "a tool that was used": (
        "/v1/messages",
        {
            "max_tokens": 9,
            "messages": [message({"type": "tool_use", "name": "f", "input": {"image_url": "http://a"}})],
        },
    ),
    "a tree": (
        CHAT,
        schema(
            {
                "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
                "$ref": "#/$defs/node",
            }
        ),
    ),
    "a regex": (CHAT, chat(structured_outputs={"regex": r"\d{4}-\d{2}-\d{2}[{}]"})),
    "Anthropic's picture": (
        "/v1/messages",
        {
            "max_tokens": 9,
            "messages": [message({"type": "image", "source": {"type": "base64", "data": JPEG}})],
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED)
async def test_an_honest_request_passes_as_it_is(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, name: str
) -> None:
    path, body = PASSED[name]
    data = json.dumps(body, indent=1).encode()
    async with http.post(f"{url}{path}", data=data) as answer:
        assert answer.status == 200
        if path != CHAT:  # the stand-in counts the bytes of every other address
            assert (await answer.json())["length"] == len(data)
        else:
            assert upstream.bodies == [body]


async def test_a_text_model_is_sent_no_pictures(http: aiohttp.ClientSession, url: str, deployment: Deployment) -> None:
    deployment.context = dataclasses.replace(CONTEXT, image_max_pixels=None, images_per_request=0)
    status, text = await refusal(http, url, {"messages": [message(PICTURE)]})
    assert (status, "takes no pictures" in text) == (400, True)


async def test_somebody_s_own_server_has_its_own_limits(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, upstream: Upstream
) -> None:
    fleet.engine_is_shared = True
    assert (await refusal(http, url, chat(n=5)))[0] == 200
    assert upstream.bodies[0]["n"] == 5
    assert (await refusal(http, url, b"[" * 5000 + b"]" * 5000))[0] == 400


async def test_a_request_for_several_answers_takes_several_turns(
    http: aiohttp.ClientSession, url: str, deployment: Deployment, upstream: Upstream
) -> None:
    deployment.context = dataclasses.replace(CONTEXT, concurrency=4)
    upstream.held = asyncio.Event()
    first = asyncio.ensure_future(refusal(http, url, chat(n=4, stream=True)))
    await asyncio.wait_for(upstream.streaming.wait(), 5)
    others = [asyncio.ensure_future(refusal(http, url, chat(stream=True))) for _ in range(4)]
    await asyncio.sleep(0.2)
    assert len(upstream.bodies) == 1 + 2  # the engine prepares two beyond the four that it answers
    upstream.held.set()
    await asyncio.gather(first, *others)
    assert len(upstream.bodies) == 5


async def test_a_request_that_waits_is_held_against_the_plan_that_comes(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    async def ask_while_starting(later: Context) -> tuple[int, str]:
        deployment.context = dataclasses.replace(CONTEXT, concurrency=4)
        deployment.enter(deployment.status.status.state.STARTING)
        asking = asyncio.ensure_future(refusal(http, url, chat(n=3)))
        await asyncio.sleep(0.05)
        deployment.context = later
        deployment.enter(deployment.status.status.state.READY)
        return await asking

    status, text = await ask_while_starting(dataclasses.replace(CONTEXT, concurrency=2))
    assert (status, "room for 2" in text) == (400, True)
    assert (await ask_while_starting(dataclasses.replace(CONTEXT, concurrency=3)))[0] == 200


async def test_errors_have_the_shape_of_the_api_that_was_asked(http: aiohttp.ClientSession, url: str) -> None:
    async with http.post(f"{url}/v1/messages", data=b"{") as answer:
        error = await answer.json()
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    async with http.post(f"{url}/v1/responses", data=b"{") as answer:
        error = await answer.json()
    assert (error["error"]["type"], error["error"]["code"]) == ("invalid_request_error", "bad_input")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(b"{}" * 1000, mtime=0)[:-20]),
        ("deflate", b"\xff" * 100),
        ("zstd", b"junk" * 10),
        ("br", b"\xff" * 10),
    ],
    ids=["gzip", "gzip cut short", "deflate", "zstd", "br"],
)
async def test_a_body_that_cannot_be_unpacked_is_400_in_one_line(
    http: aiohttp.ClientSession,
    url: str,
    upstream: Upstream,
    encoding: str,
    body: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    for path in (CHAT, "/api/swap"):
        async with http.post(f"{url}{path}", data=body, headers=headers) as answer:
            assert answer.status == 400, await answer.text()
    assert not upstream.bodies
    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_what_unpacks_to_more_than_the_limit_is_413(
    http: aiohttp.ClientSession, url: str, encoding: str, pack: Any
) -> None:
    async with http.post(
        f"{url}{CHAT}", data=pack(bytes(40 * 2**20)), headers={"Content-Encoding": encoding}
    ) as answer:
        assert answer.status == 413


async def test_a_whole_address_in_the_first_line_is_400(url: str, upstream: Upstream) -> None:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    writer.write(b"GET http://localhost/v1/responses/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    assert text.startswith("HTTP/1.1 400")
    assert "Send only the path" in text
    assert not upstream.paths


async def test_what_stands_behind_a_hash_is_no_part_of_the_address(
    url: str, deployment: Deployment, upstream: Upstream
) -> None:
    upstream.held = asyncio.Event()
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    body = json.dumps(chat(stream=True)).encode()
    head = (
        f"POST {CHAT}#/render HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await asyncio.wait_for(upstream.streaming.wait(), 5)
    waited_for = deployment.own_client.traffic.requests
    upstream.held.set()
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert waited_for == 1


LARGE = base64.b64encode(jpeg_of_size(1600, 1200)).decode()


def large_in(api: str) -> tuple[str, dict[str, Any]]:
    """A picture that is too large, as each API sends it."""
    url = f"data:image/jpeg;base64,{LARGE}"
    source = {"type": "base64", "media_type": "image/jpeg", "data": LARGE}
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "chat": (CHAT, {"messages": [message({"type": "image_url", "image_url": {"url": url, "detail": "low"}})]}),
        "chat in short": (CHAT, {"messages": [message({"type": "image_url", "image_url": url})]}),
        "responses": ("/v1/responses", {"input": [message({"type": "input_image", "image_url": url})]}),
        "messages": ("/v1/messages", {"max_tokens": 9, "messages": [message({"type": "image", "source": source})]}),
    }
    return requests[api]


@pytest.mark.parametrize("api", ["chat", "chat in short", "responses", "messages"])
async def test_a_picture_that_is_too_large_is_made_smaller_in_its_place(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, api: str
) -> None:
    path, body = large_in(api)
    body = body | {"temperature": 0.25, "user": "somebody"}
    text = json.dumps(body).replace("0.25", "2.50e-1")
    assert (await refusal(http, url, text.encode(), path))[0] == 200
    (got,) = upstream.all_bodies
    small = re.sub(r"[A-Za-z0-9+/=]{1000,}", "PICTURE", json.dumps(got, ensure_ascii=False))
    assert small == json.dumps(body).replace(LARGE, "PICTURE")
    (data,) = re.findall(r"[A-Za-z0-9+/=]{1000,}", json.dumps(got))
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (320, 240)  # the plan's pixels, in the picture's own shape


@pytest.mark.parametrize("path", [each.path for each in ENDPOINTS if each.method == "POST" and "{" not in each.path])
async def test_nested_json_is_400_wherever_json_is_taken(
    http: aiohttp.ClientSession, url: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    nested = b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}"
    for body in (nested, nested[5:-1], b'{"model":' + nested[5:], b"\xff", b""):
        async with http.post(f"{url}{path}", data=body) as answer:
            assert answer.status == 400, await answer.text()
    assert "Traceback" not in caplog.text


async def test_nested_json_on_the_live_socket_is_an_error_to_the_page(page: Page) -> None:
    await page.socket.send_str('{"x":' + "[" * 3000 + "]" * 3000 + ',"type":"start"}')
    assert (await page.next("error"))["code"] == "bad_input"
