"""One vedette serving: the lock, the server, the deployment, and a clean end of all three."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from vedette.deploy.attachment import Attachment
from vedette.deploy.deployment import Deployment
from vedette.deploy.fleet import Fleet
from vedette.deploy.hosting import is_address
from vedette.engine.state import State
from vedette.events import Event, Listening, Note, Ready, StatusChanged, Stopped
from vedette.instance.certificate import fingerprint, served_certificate, server_context
from vedette.instance.exposure import Exposure, client_limits, exposure_notes, exposure_of
from vedette.instance.listener import listen, page_url
from vedette.instance.lock import hold, refuse_second
from vedette.instance.server_log import ServerLog, remove_unused_logs
from vedette.language.message import Message
from vedette.plan.calibration import Calibration
from vedette.plan.plan import Plan
from vedette.serve.access.doorman import Access
from vedette.serve.access.owner_key import make_owner_key
from vedette.serve.app import create_app
from vedette.serve.connections.acceptor import serving
from vedette.serve.connections.limits import limits_for, raise_descriptor_limit
from vedette.serve.guard import Guard
from vedette.settings.home import Home
from vedette.settings.log_sizes import server_log_bytes
from vedette.settings.table import Settings
from vedette.tasks import first_of, running

_TICK_S = 0.2


class Screen(Protocol):
    """Where events are shown."""

    def show(self, event: Event) -> None:
        """Shows an event as it happens."""

    def tick(self) -> None:
        """Redraws what moves; called about five times a second."""


async def serve(settings: Settings, home: Home, screen: Screen) -> None:
    """Serves until it is to stop (SIGINT, SIGTERM, SIGHUP); returns with nothing left running.

    Raises VedetteError if it cannot start or cannot go on.
    """
    began = time.monotonic()
    refuse_second(home)  # a clearer error than that the port is taken
    exposure = exposure_of(settings)
    stop_requested = _stop_signals()
    tls = server_context(settings, home) if exposure.uses_https else None
    listener = listen(settings.host, settings.port)
    url = page_url(settings.host, settings.port, exposure.scheme)
    with contextlib.closing(listener), hold(home, url):
        remove_unused_logs(home.engine_log, 1 + len(settings.beside))
        server_log = ServerLog(home.server_log, server_log_bytes(settings))
        models: Fleet | Attachment
        if is_address(settings.engine):
            models = Attachment(settings, url, screen.show)
        else:
            models = Fleet(settings, home, url, screen.show)
        limits, access = limits_for(raise_descriptor_limit()), _access(settings, home, exposure)
        guard = Guard(settings.host, settings.allowed_hosts, settings.allowed_origins)
        app = create_app(models, guard, settings.wait_s, limits=limits, access=access)
        async with serving(app, listener, limits, tls):
            screen.show(Listening(f"{url}/"))
            for note in _notes(settings, home, exposure):
                screen.show(note)
            async with _shown(models.served, screen, began, serving=True), running(_rotate(server_log)):
                await first_of(models.run(), stop_requested.wait())
    screen.show(Stopped())


async def try_plan(settings: Settings, home: Home, screen: Screen) -> tuple[Plan, Calibration | None] | None:
    """Starts the engine with its plan, measures it and stops it again, serving nobody; None if it is to stop before.

    Raises VedetteError if it cannot start.
    """
    began = time.monotonic()
    stop_requested = _stop_signals()
    url = page_url(settings.host, settings.port)
    with hold(home, url):
        deployment = Deployment(settings, home, url, screen.show)
        async with _shown((deployment,), screen, began, serving=False):
            return await first_of(deployment.try_once(), stop_requested.wait())


def _access(settings: Settings, home: Home, exposure: Exposure) -> Access:
    owner_key = make_owner_key(home.access)
    limits = client_limits(settings, exposure)
    return Access.of(home.access, owner_key, settings.port, exposure.open_role, limits, exposure.uses_https)


def _notes(settings: Settings, home: Home, exposure: Exposure) -> list[Note]:
    """What a person must know before others reach this vedette."""
    notes = exposure_notes(exposure, settings.host, settings.port)
    if exposure.uses_https and settings.tls_cert is None:
        found = fingerprint(served_certificate(home))
        notes.append(Note(Message("instance.own_certificate", fingerprint=found)))
    return notes


def _stop_signals() -> asyncio.Event:
    """An event that is set once vedette is to stop: by Ctrl-C, `vedette down`, or a terminal that was closed."""
    stop_requested = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    return stop_requested


@contextlib.asynccontextmanager
async def _shown(
    deployments: Sequence[Deployment | Attachment], screen: Screen, began: float, serving: bool
) -> AsyncIterator[None]:
    """Shows how all start, and what becomes of each later; `began`: when the first start did, in monotonic time."""
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

    async with running(*map(follow, deployments), _tick(screen)):
        try:
            yield
        finally:
            await asyncio.sleep(0)  # the last status is still to be shown


async def _rotate(log: ServerLog) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        log.rotate_if_full()


async def _tick(screen: Screen) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        screen.tick()
