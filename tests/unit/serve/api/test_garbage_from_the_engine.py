"""An engine or an attached server that answers a passed-on request with anything: an error, or a broken connection."""

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from tests.rig.stand_ins.app_stand_in import Deployment, Fleet, Serve
from vedette.engine.client import EngineClient
from vedette.serve.app import create_app

pytestmark = pytest.mark.processes


CHAT = {"model": "vedette-tiny", "messages": [{"role": "user", "content": "hi"}]}
REPLIES = {
    "nothing": b"",
    "garbage": b"\x00\x01\xff" * 1000,
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a status of four digits": b"HTTP/1.1 9999 No\r\nContent-Length: 0\r\n\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
    "a header with a line break": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nrubbish\r\n",
    "less than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
    "an error without its body": b"HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\n{",
    "an error of 10 MB": b"HTTP/1.1 500 No\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 10_000_000,
}


POSTED = ("garbage", "chunks that are none", "an error without its body", "an error of 10 MB")
"""Questions are asked again after a pause, which takes long: some replies are enough."""


@pytest.mark.parametrize(
    ("method", "name"), [*(("GET", name) for name in REPLIES), *(("POST", name) for name in POSTED)]
)
async def test_it_is_an_error_or_a_broken_connection_and_no_fault_of_vedettes(
    http: aiohttp.ClientSession, serve: Serve, caplog: pytest.LogCaptureFixture, method: str, name: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read(65_536)
            writer.write(REPLIES[name])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = EngineClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "vedette-tiny")
    try:
        url, _ = await serve(create_app(Fleet(Deployment(client)), wait_s=0.2))
        status = None
        with suppress(aiohttp.ClientError):
            path = "/v1/chat/completions" if method == "POST" else "/v1/models"
            async with http.request(method, f"{url}{path}", json=CHAT if method == "POST" else None) as response:
                await response.read()
                status = response.status
        async with http.get(f"{url}/healthz") as health:
            assert health.status == 200
    finally:
        await client.close()
        server.close()
    assert status in (None, 200, 500, 502, 503)
    assert [record.getMessage() for record in caplog.records] == []
