"""Two models side by side behind vedette's app, in states that the test sets: what no engine shows when asked to."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from tests.rig.stand_ins.app_stand_in import Deployment, Fleet, Upstream, access_of
from vedette.engine.client import EngineClient
from vedette.engine.state import Phase, State
from vedette.serve.access.principal import Role
from vedette.serve.app import create_app
from vedette.serve.runner import make_runner

ANSWER_S = 0.1
T = TypeVar("T")


class AppOnAThread:
    """Runs the app on a thread of its own; whatever touches it has to run there too (`run`)."""

    def __init__(self, open_role: Role = Role.USE, keys: Path = Path(os.devnull)) -> None:
        """open_role: what a page without a key may do. keys: the directory of its keys."""
        self.upstream = Upstream()
        self._access = access_of(keys, open_role)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._runners: list[web.AppRunner] = []
        self._clients: list[EngineClient] = []
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(20)

    def run(self, work: Callable[[], T]) -> T:
        """Does something on the app's thread."""

        async def do() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(20)

    def become(self, deployment: Deployment, name: str, sees: bool = True) -> None:
        """Another model is in the place of the one before, and not ready yet. On the app's thread."""
        self._clients.append(EngineClient(self.upstream.url, name))
        deployment.name, deployment.sees, deployment.own_client = name, sees, self._clients[-1]

    def enter(self, deployment: Deployment, state: str, phase: str | None = None, **more: Any) -> None:
        """The next status, as a deployment has it. On the app's thread."""
        deployment.enter(State(state), None if phase is None else Phase(phase), **more)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _begin(self) -> None:
        engine = web.Application(client_max_size=2**30)
        engine.router.add_post("/v1/chat/completions", self._chat)
        engine.router.add_get("/v1/models", self.upstream.list_models)
        self.upstream.url = f"http://127.0.0.1:{await self._listen(engine)}"
        self.first, self.second = self._deployment("vedette-tiny"), self._deployment("org/second")
        self.fleet = Fleet(self.first, self.second)
        self.fleet.names = ["vedette-tiny", "org/other", "org/a-model-with-a-rather-long-name-2B-Instruct-FP8"]
        self.port = await self._listen(create_app(self.fleet, access=self._access))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(ANSWER_S)
        return await self.upstream.chat(request)

    async def _listen(self, app: web.Application) -> int:
        runner = make_runner(app)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return port

    def _deployment(self, name: str) -> Deployment:
        self._clients.append(EngineClient(self.upstream.url, name))
        deployment = Deployment(self._clients[-1])
        self.enter(deployment, "ready")
        return deployment

    async def _end(self) -> None:
        for runner in reversed(self._runners):
            await runner.cleanup()
        for client in self._clients:
            await client.close()
