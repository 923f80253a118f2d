"""The one app on the one port: the live page, the engine's API, and the status."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from vedette.engine.client import EngineClient
from vedette.errors import EngineUnavailableError
from vedette.events import status_json
from vedette.language.message import say
from vedette.measure.metrics import Metrics, engine_families
from vedette.serve.access.browser_login import Login
from vedette.serve.access.doorman import Access, Doorman
from vedette.serve.access.key_file import KeyFile
from vedette.serve.access.principal import Role, principal_of
from vedette.serve.access.redaction import public_status, without_places
from vedette.serve.access.usage_book import UsageBook
from vedette.serve.admission.admission import Admission
from vedette.serve.admission.picture_gate import PictureGate
from vedette.serve.api.endpoints import ENDPOINTS
from vedette.serve.api.openapi import openapi_document
from vedette.serve.api.passthrough import PassThrough
from vedette.serve.api.served_models import Models
from vedette.serve.assets import Assets
from vedette.serve.backend import Backend, Served, not_ready
from vedette.serve.connections.connection import follow_requests
from vedette.serve.connections.limits import ConnectionLimits
from vedette.serve.documents import Health
from vedette.serve.guard import Guard
from vedette.serve.http_errors import mark_begun, render_errors, retry_headers
from vedette.serve.json_answer import json_answer
from vedette.serve.languages import language
from vedette.serve.live.asking import Shared
from vedette.serve.live.pages import Live
from vedette.serve.queue import Queue
from vedette.sources.scene import SceneCamera, SceneSource
from vedette.sources.source import Factory, Sources
from vedette.tasks import running

_SAVE_EVERY_S = 10.0
_METRICS_WITHIN_S = 5.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    backend: Backend,
    guard: Guard | None = None,
    wait_s: float = 60.0,
    sources: Mapping[str, Factory] | None = None,
    limits: ConnectionLimits | None = None,
    access: Access | None = None,
) -> web.Application:
    """The app for `backend`.

    guard: the host names and the pages of other servers that it answers to; by default, this machine's names alone.
    wait_s: seconds that a request waits for an engine that starts, comes back or is swapped in.
    sources: by name, beside the page's camera and the scene.
    access: the keys; by default, everybody may ask and nobody may change anything.
    limits: what clients may hold; those of time, and of connections, are kept by `serving` (connections/acceptor.py).

    Run it with `make_runner` (runner.py): a client that hangs up then cancels its handler, and so the engine's
    work on an answer that nobody will read.
    """
    limits, guard = limits or ConnectionLimits(), guard or Guard("127.0.0.1")
    access = access or Access(secrets.token_urlsafe(32), KeyFile(Path(os.devnull)))
    metrics = Metrics()
    scene = SceneCamera()
    queue: Queue[Served] = Queue(_capacity)
    gate = PictureGate()
    all_sources = Sources({"scene": lambda: SceneSource(scene), **(sources or {})})
    live = Live(backend, Shared(queue, all_sources, metrics, gate), limits)
    doorman = Doorman(access, {each.name: each.needs for each in ENDPOINTS})
    app = web.Application(middlewares=[render_errors, follow_requests, guard.check, doorman.check])
    through = PassThrough(backend, queue, Admission(gate), metrics, wait_s, limits)
    handlers = _handlers(backend, through, live, scene, metrics) | _login_handlers(access)
    app.add_routes([web.route(each.method, each.path, handlers[each.name], name=each.name) for each in ENDPOINTS])

    async def begin(request: web.Request, response: web.StreamResponse) -> None:
        mark_begun(request)
        await guard.add_headers(request, response)
        await doorman.add_headers(request, response)

    async def follow(_: web.Application) -> AsyncIterator[None]:
        async with running(_refresh(queue, backend), _save(doorman.accounts.book)):
            yield
        doorman.accounts.book.save()

    async def shut_down(_: web.Application) -> None:
        queue.close()
        await live.close()
        await gate.close()
        scene.close()

    app.on_response_prepare.append(begin)
    app.on_shutdown.append(shut_down)
    app.cleanup_ctx.append(follow)
    return app


def _handlers(
    backend: Backend, through: PassThrough, live: Live, scene: SceneCamera, metrics: Metrics
) -> dict[str, Handler]:
    """The handler of every endpoint (api/endpoints.py), by its name."""
    models = Models(backend)
    assets = Assets()
    site = _Site(backend, scene, metrics)
    return {
        "page": assets.page,
        "login_page": assets.login_page,
        "file": assets.file,
        "icon": assets.icon,
        "healthz": site.healthz,
        "metrics": site.metrics,
        "status": site.status,
        "scene": site.scene,
        "language": language,
        "list_models": models.list,
        "swap": models.swap,
        "live": live.handle,
        "openapi": site.openapi,
        "v1_models": through.models,
        "v1": through.handle,
    }


def _login_handlers(access: Access) -> dict[str, Handler]:
    login = Login(access)
    return {"login": login.begin, "logout": login.end}


async def _refresh(queue: Queue[Served], backend: Backend) -> None:
    """Has the queue look again whenever a model's state changes."""
    async for _ in backend.watch():
        queue.refresh()


async def _save(book: UsageBook) -> None:
    """Write down now and then what keys have used."""
    while True:
        await asyncio.sleep(_SAVE_EVERY_S)
        await asyncio.to_thread(book.save)


def _capacity(served: Served) -> int:
    return served.context.concurrency if served.context else 1


class _Site:
    """The small handlers."""

    def __init__(self, backend: Backend, scene: SceneCamera, metrics: Metrics) -> None:
        self._backend = backend
        self._scene = scene
        self._metrics = metrics

    async def healthz(self, request: web.Request) -> web.Response:
        """Answer 200 if requests to all models are answered, else 503 with the reason."""
        down = next((served for served in self._backend.served if served.client is None), None)
        if down is None:
            return json_answer(Health(self._backend.served[0].status.state, None))
        error = not_ready(down)
        reason = without_places(say(error.message)) if principal_of(request).role >= Role.LOOK else None
        health = Health(down.status.state, reason)
        return json_answer(health, HTTPStatus.SERVICE_UNAVAILABLE, retry_headers(error))

    async def status(self, request: web.Request) -> web.Response:
        """Answer with what `vedette status --json` prints; paths and processes are for the owner only."""
        status = status_json(self._backend.service_status)
        return json_answer(status if principal_of(request).role is Role.OWNER else public_status(status))

    async def openapi(self, _: web.Request) -> web.Response:
        """Answer with the OpenAPI document."""
        return json_answer(_openapi())

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer with vedette's own figures and the engines'."""
        text = self._metrics.expose(self._backend.served[0].status.state.value)
        clients = (served.client for served in self._backend.served)
        pages = await asyncio.gather(*(_engine_metrics(client) for client in clients if client is not None))
        text += engine_families([page for page in pages if page is not None]).encode()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def scene(self, _: web.Request) -> web.Response:
        """Answer with a picture of the scene."""
        picture = await self._scene.preview()
        return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def _engine_metrics(client: EngineClient) -> str | None:
    """An engine's page of metrics; None if it does not arrive soon, so that vedette's own figures do."""
    with suppress(EngineUnavailableError, asyncio.TimeoutError):
        return await asyncio.wait_for(client.read_page("/metrics"), _METRICS_WITHIN_S)
    return None


_openapi = lru_cache(openapi_document)
