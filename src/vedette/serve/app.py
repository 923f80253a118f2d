"""The one app on the one port: the live page, the engine's API, and how things stand."""

from contextlib import suppress
from http import HTTPStatus

from aiohttp import web

from vedette.errors import EngineUnavailableError
from vedette.measure.metrics import Metrics, engine_families
from vedette.serve.api.passthrough import PassThrough
from vedette.serve.api.served_models import Models
from vedette.serve.assets import Assets
from vedette.serve.backend import Backend, describe
from vedette.serve.guard import Guard, add_headers
from vedette.serve.http_errors import RETRY_AFTER_S, mark_begun, render_errors
from vedette.serve.live.pages import Live
from vedette.serve.route import Route
from vedette.sources.cameras import SceneCamera


def create_app(backend: Backend, host: str = "127.0.0.1", wait_s: float = 60.0) -> web.Application:
    """The app for `backend`; `host` is what it listens on, an address or a name.

    wait_s: seconds that a request waits for an engine on its way.

    Run it with `handler_cancellation`: whoever hangs up then cancels the handler, and with it the engine's work on
    an answer that nobody will read.
    """
    metrics = Metrics()
    scene = SceneCamera()
    live = Live(backend, scene, metrics)
    models = Models(backend)
    through = PassThrough(backend, Route(backend, wait_s), metrics)
    assets = Assets()
    site = _Site(backend, scene, metrics)
    app = web.Application(middlewares=[render_errors, Guard(host).check])
    app.add_routes(
        [
            web.get("/", assets.page),
            web.get("/favicon.ico", assets.icon),
            web.get("/static/{name:.+}", assets.file),
            web.get("/healthz", site.healthz),
            web.get("/metrics", site.metrics),
            web.get("/api/status", site.status),
            web.get("/api/scene.jpg", site.scene),
            web.get("/api/live", live.handle),
            web.get("/api/models", models.list),
            web.post("/api/swap", models.swap),
            web.get("/v1/models", through.models),
            web.route("*", "/v1/{path:.*}", through.handle),
        ]
    )

    async def begin(request: web.Request, response: web.StreamResponse) -> None:
        mark_begun(request)
        await add_headers(request, response)

    async def shut_down(_: web.Application) -> None:
        await live.close()
        scene.close()

    app.on_response_prepare.append(begin)
    app.on_shutdown.append(shut_down)
    return app


class _Site:
    """The small handlers."""

    def __init__(self, backend: Backend, scene: SceneCamera, metrics: Metrics) -> None:
        self._backend = backend
        self._scene = scene
        self._metrics = metrics

    async def healthz(self, _: web.Request) -> web.Response:
        """200 when requests to all models will be answered, else 503 with the reason: what a load balancer or a
        readiness probe expects. (That anything answers at all is the sign of life.)"""
        status = self._backend.status_json()
        serving = all(served.client is not None for served in self._backend.served)
        body = {"state": status.get("state"), "reason": None if serving else describe(status)}
        if serving:
            return web.json_response(body)
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return web.json_response(body, status=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)

    async def status(self, _: web.Request) -> web.Response:
        return web.json_response(self._backend.status_json(), headers={"Cache-Control": "no-store"})

    async def metrics(self, _: web.Request) -> web.Response:
        """vedette's own figures, and the engine's, which nobody else can ask: it listens on the loopback only."""
        text = self._metrics.expose(str(self._backend.status_json().get("state")))
        pages = []
        for client in (served.client for served in self._backend.served):
            if client is not None:
                with suppress(EngineUnavailableError):
                    async with client.request("GET", "/metrics", {"Accept-Encoding": "identity"}, None) as answer:
                        pages.append(await answer.text())
        text += engine_families(pages).encode()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def scene(self, _: web.Request) -> web.Response:
        picture = await self._scene.preview()
        return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"})
