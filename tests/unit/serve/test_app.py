import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.rig.stand_ins.app_stand_in import Deployment, Fleet, Serve, Upstream
from vedette.engine.state import Phase, State
from vedette.engine.vllm.causes import KERNEL_KILL
from vedette.events import status_json
from vedette.serve.app import create_app
from vedette.serve.guard import Guard

CHAT = {"model": "vedette-tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}


async def test_page_comes_with_security_headers(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/") as page:
        assert page.status == 200
        assert page.content_type == "text/html"
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "uvicorn" not in page.headers["Server"]
        tag = page.headers["ETag"]
    async with http.get(f"{url}/", headers={"If-None-Match": tag}) as again:
        assert again.status == 304


async def test_page_names_no_other_host_and_no_inline_code(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/") as page:
        text = await page.text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert " style=" not in text
    assert " onclick=" not in text


@pytest.mark.parametrize("path", ["/nothing", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/api/nothing"])
async def test_unknown_addresses_are_404_in_json(http: aiohttp.ClientSession, url: str, path: str) -> None:
    async with http.get(f"{url}{path}") as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "no_such_page"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8090", 200),
        ("127.0.0.1", 200),
        ("192.168.7.20:8090", 200),
        ("[::1]:8090", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_host_header_keeps_rebound_names_out(
    http: aiohttp.ClientSession, url: str, host: str, status: int
) -> None:
    async with http.get(f"{url}/api/status", headers={"Host": host}) as answer:
        assert answer.status == status


async def test_name_that_it_was_told_to_listen_on_is_answered(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve
) -> None:
    url, _ = await serve(create_app(fleet, Guard("Camera.example")))
    async with http.get(f"{url}/api/status", headers={"Host": "camera.example"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://[", "file://"])
async def test_other_origins_may_not_post(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, origin: str
) -> None:
    async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Origin": origin}) as answer:
        assert answer.status == 403
        assert (await answer.json())["error"]["code"] == "forbidden"
    assert not upstream.bodies


async def test_other_sites_may_not_open_the_socket(http: aiohttp.ClientSession, url: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{url}/api/live", headers={"Origin": "http://evil.example"})
    assert refused.value.status == 403


async def test_own_origin_may_post_and_gets_no_cors_headers(http: aiohttp.ClientSession, url: str) -> None:
    async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Origin": url}) as answer:
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_stream_passes_through_as_it_comes(http: aiohttp.ClientSession, url: str, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    async with http.post(f"{url}/v1/chat/completions", json=CHAT) as answer:
        assert answer.content_type == "text/event-stream"
        first = await answer.content.readline()
        assert json.loads(first[6:]) == upstream.events[0]  # it arrives before the engine sends more
        upstream.held.set()
        rest = await answer.content.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert upstream.bodies == [CHAT]


async def test_hanging_up_reaches_the_engine(http: aiohttp.ClientSession, url: str, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    async with http.post(f"{url}/v1/chat/completions", json=CHAT) as answer:
        await answer.content.readline()
        answer.close()
    await asyncio.wait_for(upstream.hung_up.wait(), 5)


async def test_engine_dying_in_the_middle_ends_the_stream_with_an_error(
    http: aiohttp.ClientSession, url: str, upstream: Upstream
) -> None:
    upstream.dies = True
    async with http.post(f"{url}/v1/chat/completions", json=CHAT) as answer:
        lines = (await answer.text()).strip().split("\n\n")
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "engine_unavailable"


async def test_engine_not_ready_is_503_in_openai_shape(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.enter(State.STARTING, Phase.LOADING, done=3, total=7)
    async with http.get(f"{url}/v1/models") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        error = (await answer.json())["error"]
    assert error["type"] == "server_error"
    assert "loading weights 3/7" in error["message"]


async def test_engine_that_cannot_be_reached_is_503(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.own_client.base_url = "http://127.0.0.1:9"
    async with http.get(f"{url}/v1/models") as answer:
        assert answer.status == 503
        assert (await answer.json())["error"]["code"] == "engine_unavailable"


async def test_headers_that_belong_to_one_hop_stay(http: aiohttp.ClientSession, url: str, upstream: Upstream) -> None:
    sent = {"Authorization": "Bearer k", "Cookie": "a=b", "Connection": "keep-alive, X-Hop", "X-Hop": "1", "X-End": "2"}
    async with http.post(f"{url}/v1/anything?q=%20a+b", data=b"[1, 2, 34]", headers=sent) as answer:
        assert answer.headers["X-Engine"] == "yes"
        assert await answer.json() == {"length": 10, "path": "/v1/anything?q=%20a+b"}
    (got,) = upstream.headers
    assert "Authorization" not in got
    assert got["X-End"] == "2"
    assert not {"Cookie", "X-Hop", "Origin"} & set(got)
    assert got["Host"] == upstream.url.removeprefix("http://")


async def test_compressed_bodies_arrive_plain(http: aiohttp.ClientSession, url: str) -> None:
    body = gzip.compress(b'"' + b"x" * 998 + b'"')
    async with http.post(f"{url}/v1/anything", data=body, headers={"Content-Encoding": "gzip"}) as answer:
        assert (await answer.json())["length"] == 1000


@pytest.mark.parametrize("path", ["/v1/%2e%2e/metrics", "/v1/x/%2e%2e/%2e%2e/metrics", "/v1/./models"])
async def test_paths_cannot_leave_v1(url: str, upstream: Upstream, path: str) -> None:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status = (await reader.read()).split(b"\r\n", 1)[0]
    writer.close()
    assert b"404" in status
    assert not upstream.paths


@pytest.mark.parametrize("chunked", [False, True])
async def test_fifty_megabytes_are_413(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, chunked: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield bytes(2**20)

    body = chunks() if chunked else io.BytesIO(bytes(50 * 2**20))
    async with http.post(f"{url}/v1/chat/completions", data=body) as answer:
        assert answer.status == 413
        error = (await answer.json())["error"]
    assert error["code"] == "too_large"
    assert "32 MiB" in error["message"]
    assert not upstream.bodies


async def test_healthz_is_for_probes(http: aiohttp.ClientSession, url: str, deployment: Deployment) -> None:
    async with http.get(f"{url}/healthz") as answer:
        assert answer.status == 200
        assert (await answer.json())["state"] == "ready"
    deployment.enter(State.FAILED, cause=KERNEL_KILL)
    async with http.get(f"{url}/healthz") as answer:
        assert answer.status == 503
        assert "memory ran out" in (await answer.json())["reason"]


async def test_status_is_what_the_command_prints(http: aiohttp.ClientSession, url: str, fleet: Fleet) -> None:
    async with http.get(f"{url}/api/status") as answer:
        assert await answer.json() == status_json(fleet.service_status)


async def test_metrics_count_what_happened(http: aiohttp.ClientSession, url: str) -> None:
    async with http.post(f"{url}/v1/chat/completions", json=CHAT) as answer:
        await answer.read()
    async with http.get(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    assert 'vedette_engine_state{state="ready"} 1.0' in text
    assert 'vedette_api_requests_total{status="200"} 1.0' in text
    assert "process_resident_memory_bytes" in text


async def test_metrics_include_what_the_engine_counts(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    async with http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    assert 'vllm:num_requests_running{engine="0"} 2.0' in text
    assert text.count("# HELP process_open_fds") == 1
    deployment.own_client.base_url = "http://127.0.0.1:9"
    async with http.get(f"{url}/metrics") as answer:
        assert answer.status == 200


async def test_a_fault_of_ours_is_a_500_without_its_traceback(
    http: aiohttp.ClientSession,
    url: str,
    fleet: Fleet,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> list[str]:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(fleet, "installed", broken)
    async with http.get(f"{url}/api/models") as answer:
        assert answer.status == 500
        assert "secret" not in await answer.text()
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("path", ["/api/live", "/api/status", "/v1/models", "/"])
@pytest.mark.parametrize(
    "header", [b"Sec-WebSocket-Key: \xff\xfe", b"Sec-WebSocket-Version: \xc3\xa9", b"Origin: \xff", b"X-Y: \xe8\xff"]
)
async def test_a_header_that_is_no_text_is_refused(url: str, path: str, header: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + upgrade + header + b"\r\n\r\n")
    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    assert status == b"HTTP/1.1 400 Bad Request\r\n"
