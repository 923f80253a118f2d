"""Who may what: every address of the real app, for every role."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.rig.stand_ins.app_stand_in import OWNER, OWNER_KEY, Deployment, Fleet, Serve, Upstream, access_of
from vedette.engine.state import State
from vedette.errors import Cause, EngineFailedError
from vedette.language.message import Message
from vedette.serve.access.key_file import ROLES, KeyFile
from vedette.serve.access.principal import Role
from vedette.serve.api.endpoints import ENDPOINTS, Endpoint
from vedette.serve.app import create_app

CHAT = {"model": "vedette-tiny", "messages": [{"role": "user", "content": "hi"}]}


class Keys:
    """A key of each role, and the file that has them."""

    def __init__(self, directory: Path) -> None:
        self.file = KeyFile(directory)
        self.of = {ROLES[role]: self.file.add(role, role) for role in ROLES} | {Role.OWNER: OWNER_KEY}

    def headers(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.of[role]}"} if role in self.of else {}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "access")


@pytest.fixture
async def closed(fleet: Fleet, serve: Serve, keys: Keys, tmp_path: Path) -> str:
    """Where an app listens that asks everybody for a key."""
    address, _ = await serve(create_app(fleet, wait_s=0.2, access=access_of(tmp_path / "access", Role.NOBODY)))
    return address


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps cookies, also of addresses."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


def plain_address(endpoint: Endpoint) -> str:
    """An address of an endpoint that leads somewhere."""
    for pattern, value in (("{name:.+}", "live/live.html"), ("{language}", "en"), ("{path:.*}", "chat/completions")):
        if pattern in endpoint.path:
            return endpoint.path.replace(pattern, value)
    return endpoint.path


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
async def test_every_address_is_open_from_its_role_on(
    http: aiohttp.ClientSession, closed: str, keys: Keys, endpoint: Endpoint
) -> None:
    method = "POST" if endpoint.method == "*" else endpoint.method
    body = {"json": CHAT if endpoint.name == "v1" else {}} if method == "POST" else {}
    url = closed + plain_address(endpoint)
    for role in Role:
        async with http.request(method, url, headers=keys.headers(role), allow_redirects=False, **body) as answer:
            if role >= endpoint.needs:
                assert answer.status not in (303, 401)
                assert answer.status != 403 or endpoint.name == "swap"
            elif endpoint.name == "page":
                assert (answer.status, answer.headers["Location"]) == (303, "/login")
            else:
                assert answer.status == (401 if role is Role.NOBODY else 403)
                assert "role" in await answer.text() or "key" in await answer.text()


def test_what_needs_no_key_is_named_here() -> None:
    open_to_all = {endpoint.name for endpoint in ENDPOINTS if endpoint.needs is Role.NOBODY}
    assert open_to_all == {"file", "icon", "healthz", "language", "login_page", "login", "logout", "openapi"}


async def test_an_address_without_a_role_is_closed(http: aiohttp.ClientSession, fleet: Fleet, serve: Serve) -> None:
    app = create_app(fleet)
    asked: list[web.Request] = []

    async def forgotten(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response()

    app.router.add_get("/api/forgotten", forgotten)
    url, _ = await serve(app)
    async with http.get(f"{url}/api/forgotten", headers=OWNER) as answer:
        assert answer.status == 500
    assert not asked


async def test_unknown_addresses_are_404_without_a_key_too(http: aiohttp.ClientSession, closed: str) -> None:
    async with http.get(f"{closed}/api/nothing") as answer:
        assert answer.status == 404


@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
async def test_a_key_comes_as_openais_and_anthropics_clients_send_it(
    http: aiohttp.ClientSession, closed: str, keys: Keys, upstream: Upstream, header: str
) -> None:
    key = keys.of[Role.USE]
    sent = {header: f"Bearer {key}" if header == "Authorization" else key}
    async with http.post(f"{closed}/v1/chat/completions", json=CHAT, headers=sent) as answer:
        assert answer.status == 200
    assert not {"authorization", "x-api-key"} & {name.lower() for name in upstream.headers[-1]}


@pytest.mark.parametrize("key", ["wrong", "", "\u00e4", "vedette-" + "x" * 43, "x" * 5000])
async def test_a_wrong_key_opens_nothing(http: aiohttp.ClientSession, closed: str, key: str) -> None:
    async with http.get(f"{closed}/api/status", headers={"x-api-key": key}) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_revoked_key_ends_at_once(http: aiohttp.ClientSession, closed: str, keys: Keys) -> None:
    async with http.get(f"{closed}/api/status", headers=keys.headers(Role.USE)) as answer:
        assert answer.status == 200
    keys.file.revoke("use")
    async with http.get(f"{closed}/api/status", headers=keys.headers(Role.USE)) as answer:
        assert answer.status == 401
    async with http.get(f"{closed}/api/status", headers=keys.headers(Role.LOOK)) as answer:
        assert answer.status == 200


async def test_on_loopback_asking_is_open_and_made_up_keys_are_no_matter(
    http: aiohttp.ClientSession, url: str, upstream: Upstream
) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-none"}):
        async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers) as answer:
            assert answer.status == 200
    assert len(upstream.bodies) == 2


# Changing the model


@pytest.mark.parametrize(
    "case",
    [
        (Role.NOBODY, False, "other", 403),  # on loopback: a relay speaks for others
        (Role.USE, False, "other", 403),
        (Role.ADMIN, False, "other", 200),
        (Role.ADMIN, False, "of-the-catalogue", 200),
        (Role.ADMIN, False, "/etc", 404),
        (Role.ADMIN, False, "Qwen/Qwen3-VL-2B-Instruct", 404),
        (Role.OWNER, False, "/etc", 200),
        (Role.NOBODY, True, "other", 200),
        (Role.NOBODY, True, "of-the-catalogue", 404),
        (Role.USE, True, "other", 200),
        (Role.USE, True, "../other", 404),
        (Role.ADMIN, False, "ngc:nim/nvidia/small:1", 404),
        (Role.ADMIN, False, "modelscope:someone/small", 404),
        (Role.ADMIN, False, "https://elsewhere/model", 404),
        (Role.OWNER, False, "ngc:nim/nvidia/small:1", 200),
        (Role.LOOK, True, "other", 403),
    ],
)
async def test_who_may_change_the_model_and_to_what(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, keys: Keys, case: tuple[Role, bool, str, int]
) -> None:
    role, allow_swap, model, status = case
    fleet.names, fleet.allow_swap = ["other"], allow_swap
    async with http.get(f"{url}/api/models", headers=keys.headers(role)) as answer:
        assert (await answer.json())["swap_allowed"] == (status != 403)
    async with http.post(f"{url}/api/swap", json={"model": model}, headers=keys.headers(role)) as answer:
        assert answer.status == status
    assert bool(fleet.swaps) == (status == 200)


async def test_errors_tell_the_owner_alone_which_directories_there_are(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, keys: Keys
) -> None:
    async def fail(_: str) -> None:
        raise EngineFailedError("cli.no_log", path="/home/owner/models/secret")

    fleet.names, fleet.on_swap = ["other"], fail
    for role in (Role.ADMIN, Role.OWNER):
        async with http.post(f"{url}/api/swap", json={"model": "other"}, headers=keys.headers(role)) as answer:
            text = await answer.text()
            assert answer.status == 502
            assert ("/home/owner" in text) == (role is Role.OWNER)


# What is shown


def private_status(deployment: Deployment) -> None:
    cause = Cause("engine_error", Message("cli.no_log", path="/srv/models/x/config.json"))
    deployment.enter(State.FAILED, cause=cause)
    plan = {"model": "vedette-tiny", "engine": {"argv": ["vllm", "serve", "/srv/models/x"], "env": {"A": "/srv/c"}}}
    deployment.plan, deployment.engine_pid = plan, 4711


@pytest.mark.parametrize("role", [Role.NOBODY, Role.ADMIN, Role.OWNER])
async def test_paths_command_lines_and_processes_are_for_the_owner(
    http: aiohttp.ClientSession, url: str, deployment: Deployment, upstream: Upstream, keys: Keys, role: Role
) -> None:
    upstream.models = [{"id": "vedette-tiny", "root": "/srv/models/x"}]
    async with http.get(f"{url}/v1/models", headers=keys.headers(role)) as answer:
        assert ("/srv" in await answer.text()) == (role is Role.OWNER)
    private_status(deployment)
    async with http.get(f"{url}/api/status", headers=keys.headers(role)) as answer:
        text, status = await answer.text(), await answer.json()
    assert ("/srv" in text) == (role is Role.OWNER)
    for each in (status, *status["models"]):
        assert each["engine_pid"] == (4711 if role is Role.OWNER else None)
        assert bool(each["plan"]["engine"]["argv"]) == (role is Role.OWNER)
    async with http.ws_connect(f"{url}/api/live", headers=keys.headers(role)) as socket:
        shown = await socket.receive_json()
    assert ("/srv" in str(shown)) == (role is Role.OWNER)
    async with http.get(f"{url}/healthz") as answer:
        assert "/srv" not in await answer.text()


async def test_a_page_that_may_only_look_asks_nothing(
    http: aiohttp.ClientSession, closed: str, keys: Keys, upstream: Upstream
) -> None:
    async with http.ws_connect(f"{closed}/api/live", headers=keys.headers(Role.LOOK)) as socket:
        await socket.send_json({"type": "start", "source": "none", "prompt": "What?", "max_tokens": 5})
        answers: list[Any] = [await socket.receive_json() for _ in range(2)]
    assert [answer["type"] for answer in answers] == ["status", "error"]
    assert "role" in answers[1]["sentence"]
    assert not upstream.bodies


# Logging in


async def log_in(browser: aiohttp.ClientSession, url: str, key: str) -> aiohttp.ClientResponse:
    return await browser.post(f"{url}/api/login", json={"key": key})


async def test_a_browser_keeps_a_cookie_in_the_place_of_the_key(
    browser: aiohttp.ClientSession, closed: str, keys: Keys
) -> None:
    answer = await log_in(browser, closed, f" {keys.of[Role.ADMIN]}\n")
    assert await answer.json() == {"name": "admin", "role": "admin"}
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert keys.of[Role.ADMIN] not in cookie
    async with browser.get(f"{closed}/") as page:
        assert page.url.path == "/"
    async with browser.get(f"{closed}/api/models") as models:
        assert (await models.json())["swap_allowed"]
    await browser.delete(f"{closed}/api/login")
    async with browser.get(f"{closed}/") as page:
        assert page.url.path == "/login"


async def test_a_login_outlasts_a_restart_and_ends_with_its_key(
    browser: aiohttp.ClientSession, fleet: Fleet, serve: Serve, closed: str, keys: Keys, tmp_path: Path
) -> None:
    await log_in(browser, closed, keys.of[Role.USE])
    again, _ = await serve(create_app(fleet, access=access_of(tmp_path / "access", Role.NOBODY)))
    async with browser.get(f"{again}/api/status") as answer:
        assert answer.status == 200
    keys.file.revoke("use")
    keys.file.add("use", "admin")  # the same name, another key
    async with browser.get(f"{again}/api/status") as answer:
        assert answer.status == 401


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"key": 7}', '{"key": "' + "a" * 2000 + '"}'])
async def test_a_login_that_cannot_be_read_is_refused(http: aiohttp.ClientSession, closed: str, body: str) -> None:
    async with http.post(f"{closed}/api/login", data=body) as answer:
        assert answer.status == 400
        assert "Set-Cookie" not in answer.headers


async def test_a_wrong_key_gives_no_cookie(http: aiohttp.ClientSession, closed: str) -> None:
    async with http.post(f"{closed}/api/login", json={"key": "wrong"}) as answer:
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "value", ["", "owner", "owner:9999999999:00", "owner::", "nobody:9999999999:00", "owner:²:00", "owner:9:ä", '"']
)
async def test_a_forged_cookie_is_nobodys(http: aiohttp.ClientSession, closed: str, value: str) -> None:
    headers = {"Cookie": f"vedette_8090={value}"}
    async with http.get(f"{closed}/api/status", headers=headers) as answer:
        assert answer.status == 401


async def test_a_cookie_of_another_site_is_not_enough_to_change_anything(
    browser: aiohttp.ClientSession, url: str, fleet: Fleet
) -> None:
    await log_in(browser, url, OWNER["Authorization"].removeprefix("Bearer "))
    fleet.names = ["other"]
    headers = {"Origin": "http://evil.example"}
    async with browser.post(f"{url}/api/swap", json={"model": "other"}, headers=headers) as answer:
        assert answer.status == 403
    assert not fleet.swaps
