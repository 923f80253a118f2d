"""All models of one vedette: side by side behind one port, each with its own engine and its share of the memory."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence

from vedette.deploy.deployment import Deployment
from vedette.deploy.proposing import propose_packed
from vedette.engine.state import State, Status
from vedette.errors import DoesNotFitError, ModelNotFoundError, VedetteError
from vedette.events import Note, Notify, ServiceStatus
from vedette.language.message import Message
from vedette.models.store.model_lookup import installed_models
from vedette.plan.side_by_side import Share
from vedette.settings.home import Home
from vedette.settings.table import Settings
from vedette.units import size


class Fleet:
    """The deployments of `model` and those `beside` it; what the app serves (serve/backend.py)."""

    def __init__(self, settings: Settings, home: Home, url: str, notify: Notify) -> None:
        self.url = url
        self.allow_swap = settings.allow_swap
        self.engine_is_shared = False
        self._settings = settings
        self._home = home
        self._notify = notify
        models = (settings.model, *settings.beside)
        self.served: Sequence[Deployment] = tuple(
            Deployment(dataclasses.replace(settings, model=model), home, url, notify, number)
            for number, model in enumerate(models, 1)
        )

    async def run(self) -> None:
        """Brings all models up, one after another, and keeps them up until cancelled.

        Raises VedetteError when one cannot come up, or when none is left that stays up.
        """
        if len(self.served) > 1:
            for deployment, share in zip(self.served, await asyncio.to_thread(self._shares), strict=True):
                deployment.share = share
        running: list[asyncio.Task[None]] = []
        try:
            for deployment in self.served:
                running.append(asyncio.ensure_future(deployment.run()))
                await _until_ready(deployment, running)
            await self._until_none_runs(running)
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    def installed(self) -> list[str]:
        return installed_models(self._home.models)

    async def swap(self, argument: str, replace: str | None = None) -> Deployment:
        served = next((each for each in self.served if each.name == argument), None)
        if served is None:
            served = self._to_replace(replace)
        await served.swap(argument)
        return served

    @property
    def service_status(self) -> ServiceStatus:
        return ServiceStatus(tuple(deployment.status for deployment in self.served))

    async def watch(self) -> AsyncGenerator[None, None]:
        queue: asyncio.Queue[Status] = asyncio.Queue()
        with contextlib.ExitStack() as told:
            for deployment in self.served:
                told.enter_context(deployment.life.told(queue))
            while True:
                await queue.get()
                yield

    def _to_replace(self, name: str | None) -> Deployment:
        if name is None:
            return min(self.served, key=lambda deployment: (deployment.abandoned, deployment.used_at))
        for deployment in self.served:
            if deployment.name == name:
                return deployment
        names = ", ".join(str(deployment.name) for deployment in self.served)
        raise ModelNotFoundError(f"{name[:200]!r} is not served, so nothing can take its place.", f"Served: {names}.")

    def _shares(self) -> Sequence[Share]:
        """What each model may take. Raises DoesNotFitError when they can only take turns, ModelNotFoundError."""
        models = [name for name in (self._settings.model, *self._settings.beside) if name is not None]
        packed = propose_packed(self._settings, models, self._home)
        if packed.in_turns:
            late = packed.in_turns[0].plan
            raise DoesNotFitError(
                f"{', '.join(models)} do not fit side by side: for {late.model_name} "
                f"{size(packed.room.available_bytes)} are not enough beside the others.",
                f"Serve the others and change with `vedette swap {late.model_name}`, or see `vedette plan "
                f"{' '.join(models)}`.",
            )
        return packed.shares

    async def _until_none_runs(self, running: Sequence["asyncio.Task[None]"]) -> None:
        """Waits until the last one has given up. Raises what it gave up for."""
        left = set(running)
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if not left or not isinstance(error, VedetteError):
                    task.result()
                else:
                    self._notify(Note(Message("deploy.others_go_on", error=error.message)))


async def _until_ready(deployment: Deployment, running: Sequence["asyncio.Task[None]"]) -> None:
    """Returns once it serves. Raises what it, or one that was started before, could not come up for."""
    ready = asyncio.ensure_future(_is_ready(deployment))
    try:
        done, _ = await asyncio.wait({ready, *running}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {ready}:
            task.result()
    finally:
        ready.cancel()
        await asyncio.wait({ready})


async def _is_ready(deployment: Deployment) -> None:
    async with contextlib.aclosing(deployment.life.watch()) as statuses:
        async for status in statuses:
            if status.state is State.READY:
                return
