"""Attached to a server that sends anything: the attachment serves or fails with a sentence, and holds no flood."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from vedette.deploy.attachment import Attachment, ServerLimits
from vedette.engine.state import State
from vedette.errors import VedetteError
from vedette.settings.load import join_layers, parse_environment
from vedette.tasks import first_of

MIB = 1024**2
MODELS = b'{"data": [{"id": "m", "max_model_len": 1000}]}'
STREAM = (
    b'data: {"choices":[{"delta":{"content":"A"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def endless(kind: str, piece: bytes) -> tuple[bytes, bytes]:
    """The head of a body without end, and what follows again and again."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode(), piece


Reply = bytes | tuple[bytes, bytes]
GOOD_CHAT = answer(STREAM, "text/event-stream")


@asynccontextmanager
async def serving(models: Reply, chat: Reply) -> AsyncIterator[str]:
    """The address of a server of bytes: `models` to `/v1/models`, `chat` to a question, and 404 to all else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
            await reader.readexactly(length)
            path = lines[0].split()[1]
            reply = {"/v1/models": models, "/v1/chat/completions": chat}.get(path, answer(b"no", status="404 No"))
            start, more = reply if isinstance(reply, tuple) else (reply, b"")
            writer.write(start)
            await writer.drain()
            while more:
                writer.write(more)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=16 * MIB)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def attach(address: str) -> VedetteError | None:
    """None if a model was attached; the error if not. Anything but a VedetteError fails the test."""
    settings = join_layers({"environment": parse_environment({"VEDETTE_ENGINE": address})})
    attachment = Attachment(settings, "http://127.0.0.1:1", lambda _: None, ServerLimits(poll_s=60))
    try:
        return await asyncio.wait_for(first_of(_until_ready(attachment), attachment.run()), 20)
    except VedetteError as error:
        return error


async def _until_ready(attachment: Attachment) -> None:
    async for status in attachment.life.watch():
        if status.state is State.READY:
            return


LISTS: dict[str, Reply] = {
    "garbage": b"\x00\x01\xff" * 100,
    "garbage as JSON": answer(b"\xff\xfe{{{"),
    "a list": answer(b"[1, 2, 3]"),
    "a list in the place of a model": answer(b'{"data": [[], null, 7, "m", {"id": {}}]}'),
    "a number in the place of the list": answer(b'{"data": 7}'),
    "null": answer(b"null"),
    "nested without end": answer(b"[" * 200_000),
    "nested objects": answer(b'{"data":' * 50_000 + b"1" + b"}" * 50_000),
    "another content type": answer(b"<html></html>", "text/html"),
    "a charset that does not exist": answer(b"{}", "application/json; charset=nonsense"),
    "JSON of 10 MB on one line": answer(b'{"data": "' + b"x" * 10_000_000 + b'"}'),
    "JSON without end": endless("application/json", b"[" * 65_536),
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nrubbish\r\n",
    "a chunk of a negative size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nrubbish\r\n",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "less than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
    "a header without end": endless("x", b"")[0][:-4] + b"\r\nX: " + b"y" * 1_000_000,
    "junk under gzip": answer(b"\x1f\x8b\x08junk", headers="Content-Encoding: gzip\r\n"),
    "a redirect to itself": answer(b"", status="302 Found", headers="Location: /v1/models\r\n"),
    "an error of 1 MB": answer(b"x" * MIB, "text/plain", "500 No"),
    "ten thousand models": answer(json.dumps({"data": [{"id": f"m{n}"} for n in range(10_000)]}).encode()),
    "a name of 1 MB": answer(json.dumps({"data": [{"id": "m" * MIB}]}).encode()),
    "a length of 400 digits": answer(b'{"data": [{"id": "m", "max_model_len": ' + b"9" * 400 + b"}]}"),
}
CHATS: dict[str, Reply] = {
    "garbage": b"\x00\x01\xff" * 100,
    "garbage in the stream": answer(b"\xff\xfe{{{", "text/event-stream"),
    "garbage as an event": answer(b"data: \xff\xfe{{{\n\n", "text/event-stream"),
    "a line of 10 MB": answer(b"data: " + b"x" * 10_000_000 + b"\n\n", "text/event-stream"),
    "a line without end": endless("text/event-stream", b"data: " + b"x" * 65_536),
    "a list": answer(b"data: [1, 2]\n\n", "text/event-stream"),
    "choices that are an object": answer(b'data: {"choices": {}}\n\n', "text/event-stream"),
    "content that is a number": answer(b'data: {"choices": [{"delta": {"content": 7}}]}\n\n', "text/event-stream"),
    "JSON, not a stream": answer(b'{"choices": [{"message": {"content": "A"}}]}'),
    "HTML": answer(b"<html>hello</html>", "text/html"),
    "nothing": answer(b"", "text/event-stream"),
    "an error that is a list": answer(b'{"error": [1]}', status="400 No"),
    "an error without end": (b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", b"x" * 65_536),
    "an event with an error that is a number": answer(b'data: {"error": 7}\n\n', "text/event-stream"),
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nrubbish\r\n",
    "a stream that breaks off": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ndata: {",
}
HARMLESS: dict[str, Reply] = {
    "usage without numbers": answer(STREAM + b'data: {"choices": [], "usage": {"prompt_tokens": "a"}}\n\n'),
    "usage that is a list": answer(STREAM + b'data: {"choices": [], "usage": [1]}\n\n'),
    "negative usage": answer(STREAM + b'data: {"choices": [], "usage": {"prompt_tokens": -5}}\n\n'),
    "another content type": answer(STREAM, "image/png; charset=nonsense"),
}


@pytest.mark.parametrize("models", LISTS.values(), ids=list(LISTS))
async def test_whatever_is_sent_as_the_list_of_models_it_serves_or_fails_with_a_sentence(models: Reply) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(models, GOOD_CHAT) as address:
        error = await attach(address)
    assert error is None or 0 < len(error.sentence) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


@pytest.mark.parametrize("chat", CHATS.values(), ids=list(CHATS))
async def test_whatever_is_sent_as_an_answer_it_fails_with_a_sentence(chat: Reply) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(answer(MODELS), chat) as address:
        error = await attach(address)
    assert error is not None
    assert 0 < len(error.sentence) < 1000
    json.dumps(error.as_json()).encode()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


@pytest.mark.parametrize("chat", HARMLESS.values(), ids=list(HARMLESS))
async def test_an_answer_with_wrong_figures_is_an_answer(chat: Reply) -> None:
    async with serving(answer(MODELS), chat) as address:
        assert await attach(address) is None
