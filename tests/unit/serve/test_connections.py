"""Clients that keep vedette waiting, on real sockets: each wait has an end, and others are served meanwhile."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.rig.stand_ins.app_stand_in import Deployment, Fleet, Upstream, event
from vedette.engine.state import State
from vedette.instance.listener import listen
from vedette.serve.app import create_app
from vedette.serve.connections.acceptor import serving
from vedette.serve.connections.addresses import address_of, is_loopback
from vedette.serve.connections.limits import ConnectionLimits, limits_for
from vedette.tasks import cancel

ROOT = Path(__file__).parents[3]
PATIENT = ConnectionLimits(check_s=0.02)
QUICK = replace(PATIENT, header_s=0.2, idle_s=0.2, body_s=0.2, write_s=0.2, header_bytes=20_000)
Start = Callable[[ConnectionLimits], Awaitable[int]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[int, bytes], Awaitable[Streams]]

HOST = "Host: 127.0.0.1\r\n"
HALF_SENT = f"GET / HTTP/1.1\r\n{HOST}X-Slow: ".encode()
HEALTH = f"GET /healthz HTTP/1.1\r\n{HOST}\r\n".encode()
MODELS = f"GET /api/models HTTP/1.1\r\n{HOST}\r\n".encode()
SOCKET = (
    f"GET /api/live HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()


def post(length: int, path: str = "/v1/chat/completions") -> bytes:
    return f"POST {path} HTTP/1.1\r\n{HOST}Content-Length: {length}\r\n\r\n".encode()


@pytest.fixture
async def start(fleet: Fleet) -> AsyncIterator[Start]:
    """Serves the app with these limits, and gives its port."""
    async with AsyncExitStack() as stack:

        async def started(limits: ConnectionLimits) -> int:
            listener = stack.enter_context(listen("127.0.0.1", 0))
            await stack.enter_async_context(serving(create_app(fleet, limits=limits, wait_s=5), listener, limits))
            port: int = listener.getsockname()[1]
            return port

        yield started


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens a connection and sends something; it is closed with the test."""
    writers: list[asyncio.StreamWriter] = []

    async def connected(port: int, sent: bytes) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(sent)
        return reader, writer

    yield connected
    for writer in writers:
        writer.transport.abort()


async def received(reader: asyncio.StreamReader) -> bytes:
    """All that arrives until the server closes."""

    async def read() -> bytes:
        data = bytearray()
        with suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                data += chunk
        return bytes(data)

    return await asyncio.wait_for(read(), 5)


async def status_of(reader: asyncio.StreamReader) -> int:
    return int((await asyncio.wait_for(reader.readline(), 5)).split()[1])


def code_of(answer: bytes) -> object:
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return error.get("detail", error["message"])["code"]


async def trickle(writer: asyncio.StreamWriter, chunk: bytes = b"x") -> None:
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(chunk)
            await asyncio.sleep(0.02)


# Time


async def test_a_client_that_stops_in_its_headers_is_told_why(start: Start, connect: Connect) -> None:
    reader, _ = await connect(await start(QUICK), HALF_SENT)
    answer = await received(reader)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert code_of(answer) == "serve.headers_too_slow"


async def test_headers_that_trickle_have_an_end(start: Start, connect: Connect) -> None:
    reader, writer = await connect(await start(QUICK), HALF_SENT)
    trickling = asyncio.create_task(trickle(writer))
    answer = await received(reader)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")  # a reset may overtake the answer
    await trickling


async def test_headers_of_a_further_request_have_an_end(start: Start, connect: Connect) -> None:
    reader, writer = await connect(await start(QUICK), HEALTH)
    assert await status_of(reader) == 200
    writer.write(HALF_SENT)
    assert b"HTTP/1.1 408 " in await received(reader)


async def test_endless_headers_are_refused(start: Start, connect: Connect) -> None:
    reader, writer = await connect(await start(replace(QUICK, header_s=5)), HALF_SENT)
    trickling = asyncio.create_task(trickle(writer, b"a" * 7000 + b"\r\nX-More: "))
    answer = await received(reader)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))
    await trickling


@pytest.mark.parametrize("sent", [b"", HEALTH])
async def test_an_idle_connection_is_closed_without_a_word(start: Start, connect: Connect, sent: bytes) -> None:
    reader, _ = await connect(await start(QUICK), sent)
    assert (await received(reader)).count(b"HTTP/1.1") == len(sent[:1])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/swap"])
async def test_a_body_that_stops_is_dropped(start: Start, connect: Connect, path: str) -> None:
    reader, _ = await connect(await start(QUICK), post(5000, path) + b'{"model')
    answer = await received(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert code_of(answer) == "serve.body_too_slow"


async def test_a_body_that_trickles_is_dropped(start: Start, connect: Connect) -> None:
    reader, writer = await connect(await start(QUICK), post(5000))
    trickling = asyncio.create_task(trickle(writer))
    answer = await received(reader)
    assert answer == b"" or code_of(answer) == "serve.body_too_slow"
    await trickling


async def test_a_chunked_body_whose_trailers_never_end_is_dropped(start: Start, connect: Connect) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n".encode()
    reader, writer = await connect(await start(QUICK), head)
    trickling = asyncio.create_task(trickle(writer, b"X-Trailer: 1\r\n"))
    answer = await received(reader)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))
    await trickling


async def test_more_trailers_than_can_be_read_end_the_request(start: Start, connect: Connect) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n".encode()
    reader, writer = await connect(await start(QUICK), head)
    await asyncio.sleep(0.05)  # a handler reads the body
    writer.write(b"X-Trailer: 1\r\n" * 300_000)
    answer = await received(reader)
    assert answer == b"" or answer.split()[1] in (b"400", b"408")


async def test_a_slow_body_that_is_fast_enough_is_answered(start: Start, connect: Connect, upstream: Upstream) -> None:
    port = await start(replace(QUICK, body_bytes_per_s=1000))
    body = json.dumps({"model": "vedette-tiny", "padding": "x" * 2000}).encode()
    reader, writer = await connect(port, post(len(body)))
    for at in range(0, len(body), 200):
        writer.write(body[at : at + 200])
        await asyncio.sleep(0.05)
    assert await status_of(reader) == 200


async def test_a_request_that_waits_for_the_engine_is_not_counted_as_slow(
    start: Start, connect: Connect, deployment: Deployment
) -> None:
    deployment.enter(State.STARTING)
    reader, _ = await connect(await start(QUICK), post(25) + b'{"model": "vedette-tiny"}')
    await asyncio.sleep(0.5)
    deployment.enter(State.READY)
    assert await status_of(reader) == 200


async def test_a_client_that_does_not_read_its_answer_frees_the_engine(
    start: Start, connect: Connect, upstream: Upstream
) -> None:
    upstream.events = [event(content="x" * 100_000)] * 1000
    _, writer = await connect(await start(QUICK), post(25) + b'{"model": "vedette-tiny"}')
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    await asyncio.wait_for(upstream.hung_up.wait(), 10)


async def test_a_silent_socket_that_answers_no_ping_is_closed(start: Start, connect: Connect) -> None:
    reader, _ = await connect(await start(replace(QUICK, heartbeat_s=0.2)), SOCKET)
    assert await status_of(reader) == 101
    await received(reader)


async def test_a_page_that_answers_pings_may_stay_silent(start: Start, http: aiohttp.ClientSession) -> None:
    port = await start(replace(QUICK, heartbeat_s=0.1))
    async with http.ws_connect(f"http://127.0.0.1:{port}/api/live") as page:
        await page.receive_json()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(page.receive(), 0.8)  # which answers the pings
        assert not page.closed


# Room


async def test_half_sent_headers_keep_nobody_out(start: Start, connect: Connect) -> None:
    port = await start(replace(PATIENT, most=4, reserved=1))
    for _ in range(20):
        await connect(port, HALF_SENT)
    reader, _ = await connect(port, MODELS)
    assert await status_of(reader) == 200


async def test_health_is_told_when_every_connection_is_at_work(
    start: Start, connect: Connect, deployment: Deployment
) -> None:
    deployment.enter(State.STARTING)
    port = await start(replace(PATIENT, most=2, reserved=1))
    working = [await connect(port, post(25) + b'{"model": "vedette-tiny"}') for _ in range(2)]
    await asyncio.sleep(0.1)
    reader, writer = await connect(port, f"GET /api/status HTTP/1.1\r\n{HOST}\r\n".encode())
    assert await status_of(reader) == 200
    writer.transport.abort()
    reader, writer = await connect(port, MODELS)
    assert code_of(await received_answer(reader)) == "serve.too_many_connections"
    deployment.enter(State.READY)
    for each, _ in working:  # from then on they wait for nothing but their clients
        assert (await asyncio.wait_for(each.readuntil(b"[DONE]"), 5)).startswith(b"HTTP/1.1 200 ")
    reader, writer = await connect(port, MODELS)
    assert await status_of(reader) == 200


async def first_code(readers: list[asyncio.StreamReader]) -> object:
    """The error on the connection that is answered first."""
    reading = [asyncio.ensure_future(received_answer(each)) for each in readers]
    done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    await cancel(*reading)
    return code_of(done.pop().result())


async def received_answer(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    (length,) = (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return head + await reader.readexactly(int(length))


async def test_slow_large_bodies_make_room_for_others(start: Start, connect: Connect, upstream: Upstream) -> None:
    limits = replace(PATIENT, held_bytes=900_000, held_bytes_per_client=900_000, body_s=60)
    port = await start(limits)
    slow = [await connect(port, post(300_000) + b"x" * 290_000) for _ in range(3)]
    await asyncio.sleep(1.1)  # from now on they are slow
    async with aiohttp.ClientSession() as session:
        body = {"model": "vedette-tiny", "padding": "x" * 200_000}
        async with session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as answer:
            assert answer.status != 503
    assert await first_code([reader for reader, _ in slow]) == "serve.body_dropped"


async def test_one_client_may_hold_only_its_part(start: Start, connect: Connect) -> None:
    port = await start(replace(PATIENT, held_bytes=900_000, held_bytes_per_client=500_000))
    readers = [(await connect(port, post(300_000) + b"x" * 290_000))[0] for _ in range(2)]
    assert await first_code(readers) in ("serve.bodies_too_large", "serve.body_dropped")  # by whether one is slow yet


# Descriptors


async def test_few_descriptors_leave_room_for_health() -> None:
    few = limits_for(64)
    assert few.most * 2 + few.reserved < 64 - 16
    assert limits_for(1_000_000).most == limits_for(65_536).most
    assert all(limits_for(number).most >= 8 for number in (16, 256, 1024))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.168.7.20", 4), "192.168.7.20"),
        (("::ffff:192.168.7.20", 4, 0, 0), "192.168.7.20"),
        (("2001:db8:1:2:3::4", 4, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 4, 0, 2), "fe80::/64"),
        (("::1", 4, 0, 0), "::1"),
        ("", "::1"),
    ],
)
def test_a_client_is_counted_by_its_network(peer: object, address: str) -> None:
    assert address_of(peer) == address
    assert is_loopback(address) == (address == "::1")


@pytest.mark.parametrize("most", ["fit", "500"])
async def test_half_sent_headers_that_use_up_all_files_keep_health_and_log_small(connect: Connect, most: str) -> None:
    """fit: the limits for the files that there are. 500: more connections than files, so that accepting fails."""
    program = (sys.executable, "-m", "tests.rig.stand_ins.app_with_few_files", most)
    server = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE, cwd=ROOT)
    assert server.stdout is not None
    try:
        port = int(await asyncio.wait_for(server.stdout.readline(), 20))
        for _ in range(100):
            await connect(port, HALF_SENT)
        for _ in range(5):
            reader, _ = await connect(port, HEALTH)
            assert await status_of(reader) == 200
            await asyncio.sleep(0.1)
    finally:
        server.terminate()
        _, log = await asyncio.wait_for(server.communicate(), 10)
    assert len(log) < 1000, log.decode()
