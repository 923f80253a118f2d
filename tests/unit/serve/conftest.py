"""A real upstream that misbehaves on command, a deployment whose state the test sets, and the app between them."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.rig.stand_ins.app_stand_in import Deployment, Fleet, OpenPage, Page, Serve, Upstream, access_of, jpeg_of_size
from vedette.engine.client import EngineClient
from vedette.serve.app import create_app
from vedette.serve.runner import make_runner


@pytest.fixture
def jpeg() -> bytes:
    """A picture of just the size that CONTEXT allows."""
    return jpeg_of_size()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Makes an app listen; gives its address, and the runner for tests that stop it themselves."""
    runners: list[web.AppRunner] = []

    async def listen(app: web.Application) -> tuple[str, web.AppRunner]:
        runner = make_runner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}", runner

    yield listen
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def upstream(serve: Serve) -> Upstream:
    server = Upstream()
    app = web.Application(client_max_size=2**30)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/metrics", server.metrics)
    app.router.add_get("/v1/models", server.list_models)
    app.router.add_route("*", "/{path:.*}", server.anything)
    server.url, _ = await serve(app)
    return server


WAIT_S = 0.2
"""How long the app lets a request wait."""


@pytest.fixture
async def deployment(upstream: Upstream) -> AsyncIterator[Deployment]:
    client = EngineClient(upstream.url, "vedette-tiny")
    yield Deployment(client)
    await client.close()


@pytest.fixture
def fleet(deployment: Deployment) -> Fleet:
    return Fleet(deployment)


@pytest.fixture
async def url(fleet: Fleet, serve: Serve, tmp_path: Path) -> str:
    """Where the app listens."""
    address, _ = await serve(create_app(fleet, wait_s=WAIT_S, access=access_of(tmp_path / "access")))
    return address


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def open_page(http: aiohttp.ClientSession, url: str) -> AsyncIterator[OpenPage]:
    """Opens pages; they close with the test."""
    pages: list[Page] = []

    async def open_one() -> Page:
        page = Page(await http.ws_connect(f"{url}/api/live"))
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        await page.socket.close()


@pytest.fixture
async def page(open_page: OpenPage) -> Page:
    return await open_page()
