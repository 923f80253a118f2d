"""One vedette serving: the lock, the server, the deployment, and a clean end of all three."""

import asyncio
import contextlib
import errno
import signal
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from vedette.cli.screen import Screen
from vedette.deploy.attachment import Attachment
from vedette.deploy.deployment import Deployment
from vedette.deploy.fleet import Fleet
from vedette.deploy.hosting import is_address
from vedette.engine.state import State
from vedette.errors import PortInUseError, VedetteError
from vedette.events import Listening, Ready, StatusChanged, Stopped
from vedette.instance import lock as instance
from vedette.plan.calibration import Calibration
from vedette.plan.plan import Plan
from vedette.serve.app import create_app
from vedette.settings.home import Home
from vedette.settings.table import Settings

_T = TypeVar("_T")
_TICK_S = 0.2


async def serve(settings: Settings, home: Home, screen: Screen) -> None:
    """Serves until told to stop (SIGINT, SIGTERM); returns with nothing left running.

    Raises VedetteError when it cannot come up or stay up.
    """
    began = time.monotonic()
    instance.refuse_second(home)  # before its port is found taken
    told = _stop_signals()
    listener = _listen(settings.host, settings.port)
    url = page_url(settings.host, settings.port)
    with contextlib.closing(listener), instance.hold(home, url):
        models: Fleet | Attachment
        if is_address(settings.engine):
            models = Attachment(settings, url, screen.show)
        else:
            models = Fleet(settings, home, url, screen.show)
        async with _serving(create_app(models, settings.host, settings.wait_s), listener):
            screen.show(Listening(f"{url}/"))
            await _until_told(models.run(), _show(models.served, screen, began, serving=True), told)
    screen.show(Stopped())


async def try_plan(settings: Settings, home: Home, screen: Screen) -> tuple[Plan, Calibration | None] | None:
    """Brings the engine up with its plan, measures it, and stops it again, serving nobody; None if told to stop.

    Raises VedetteError when it cannot come up.
    """
    began = time.monotonic()
    told = _stop_signals()
    url = page_url(settings.host, settings.port)
    with instance.hold(home, url):
        deployment = Deployment(settings, home, url, screen.show)
        return await _until_told(deployment.try_once(), _show((deployment,), screen, began, serving=False), told)


def page_url(host: str, port: int) -> str:
    """Where a browser on this machine finds the page, without a trailing slash."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reachable}:{port}"


def _stop_signals() -> asyncio.Event:
    """Set once somebody wants vedette to stop: Ctrl-C, `vedette down`, or a terminal that was closed."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told


async def _until_told(work: Coroutine[Any, Any, _T], show: Coroutine[Any, Any, None], told: asyncio.Event) -> _T | None:
    """Does `work` while showing it; the result, or None once told to stop."""
    running = asyncio.create_task(work)
    showing = asyncio.create_task(show)
    telling = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({running, telling}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        running.cancel()
        await asyncio.wait({running})
        await asyncio.sleep(0)  # what was last published is still to be shown
        for task in (showing, telling):
            task.cancel()
    return None if running.cancelled() else running.result()


async def _show(deployments: Sequence[Deployment | Attachment], screen: Screen, began: float, serving: bool) -> None:
    """Shows how all come up, and what becomes of each later; `began`: when the first start did."""
    down = set(deployments)

    async def follow(deployment: Deployment | Attachment) -> None:
        since = began
        async for status in deployment.life.watch():
            if status.state is not State.READY and deployment not in down:
                down.add(deployment)
                since = time.monotonic()
            elapsed_ms = round((time.monotonic() - since) * 1000)
            if status.state is State.READY and serving:
                down.discard(deployment)
                if not down:
                    screen.show(Ready(f"{deployment.url}/", f"{deployment.url}/v1", elapsed_ms))
            elif status.state is not State.STOPPED:
                name = deployment.name if len(deployments) > 1 else None
                screen.show(StatusChanged(status, elapsed_ms, name))

    showing = [asyncio.create_task(follow(deployment)) for deployment in deployments]
    showing.append(asyncio.create_task(_tick(screen)))
    try:
        await asyncio.gather(*showing)
    finally:
        for task in showing:
            task.cancel()


async def _tick(screen: Screen) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        screen.tick()


@contextlib.asynccontextmanager
async def _serving(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortInUseError, or VedetteError for an address that is not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except (OSError, UnicodeError) as error:
        raise _no_address(host) from error
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"Port {port} is taken by another program.", f"Choose another: `vedette up --port {port + 1}`."
            ) from error
        if error.errno == errno.EACCES:
            raise PortInUseError(f"Port {port} needs more rights than you have.", "Choose one above 1023.") from error
        raise _no_address(host) from error
    return listener


def _no_address(host: str) -> VedetteError:
    return PortInUseError(
        f"{host} is no address of this machine.", "Use 127.0.0.1 (this machine only) or 0.0.0.0 (the network too)."
    )


async def ask_status(url: str) -> Mapping[str, Any] | None:
    """What a running vedette says of itself; None when it does not answer."""
    try:
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/api/status") as response:
            status: Mapping[str, Any] = await response.json()
            return status if "state" in status else None
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError):
        return None
