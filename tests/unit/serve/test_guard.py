"""Host names and pages of other servers that the owner allows, through the real app."""

import aiohttp
import pytest

from tests.rig.stand_ins.app_stand_in import Fleet, Serve, Upstream
from vedette.serve.app import create_app
from vedette.serve.guard import Guard

CHAT = {"model": "vedette-tiny", "messages": [{"role": "user", "content": "hi"}]}
APP = "http://app.lan:3000"


@pytest.fixture
async def allowing(fleet: Fleet, serve: Serve) -> str:
    guard = Guard("127.0.0.1", ("Jetson.lan", "host.docker.internal"), (f"{APP}/", "HTTPS://Chat.lan:443"))
    url, _ = await serve(create_app(fleet, guard))
    return url


@pytest.mark.parametrize(
    ("host", "status"),
    [("jetson.lan:8090", 200), ("HOST.docker.internal", 200), ("evil.lan", 403), ("jetson.lan.evil.example", 403)],
)
async def test_names_that_the_owner_allows_are_answered(
    http: aiohttp.ClientSession, allowing: str, host: str, status: int
) -> None:
    async with http.get(f"{allowing}/api/status", headers={"Host": host}) as answer:
        assert answer.status == status


@pytest.mark.parametrize("host", ["[//", "[::1", "\u2100//", "//[", "@[", ""])
async def test_a_host_that_is_none_is_refused_as_any_other(
    http: aiohttp.ClientSession, url: str, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with http.get(f"{url}/healthz", headers={"Host": host}) as answer:
        assert answer.status == 403
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (APP, True),
        ("https://chat.lan", True),
        ("http://app.lan", False),
        ("https://app.lan:3000", False),
        ("http://app.lan:3001", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
async def test_pages_that_the_owner_allows_may_ask_and_read(
    http: aiohttp.ClientSession, allowing: str, upstream: Upstream, origin: str, allowed: bool
) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    async with http.post(f"{allowing}/v1/chat/completions", json=CHAT, headers=headers) as answer:
        assert answer.status == (200 if allowed else 403)
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert bool(upstream.bodies) == allowed
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    async with http.options(f"{allowing}/v1/chat/completions", headers={"Origin": origin, **wanted}) as answer:
        assert answer.status == (204 if allowed else 403)
        if allowed:
            assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("origin", ["https://127.0.0.1:{port}", "http://127.0.0.1", "http://localhost:{port}"])
async def test_an_origin_is_compared_with_its_scheme_and_port(
    http: aiohttp.ClientSession, url: str, origin: str
) -> None:
    sent = origin.format(port=url.rpartition(":")[2])
    async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Origin": sent}) as answer:
        assert answer.status == 403
    async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Origin": url}) as answer:
        assert answer.status == 200
