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
from vedette.models.store.model_catalogue import catalogue
from vedette.models.store.model_lookup import installed_models
from vedette.plan.side_by_side import Share
from vedette.settings.home import Home
from vedette.settings.table import Settings
from vedette.tasks import cancel, first_of

MAX_NAME = 200
"""Characters of a name that an error repeats."""


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
        """Starts all models, one after another, and keeps them served until cancelled.

        Raises VedetteError when one cannot be started, or when the last one is given up.
        """
        if len(self.served) > 1:
            for deployment, share in zip(self.served, await asyncio.to_thread(self._shares), strict=True):
                deployment.share = share
        runs: list[asyncio.Future[None]] = []
        try:
            for deployment in self.served:
                runs.append(asyncio.ensure_future(deployment.run()))
                await first_of(_until_ready(deployment), *map(asyncio.shield, runs))
            await self._until_all_ended(runs)
        finally:
            await cancel(*runs)

    def installed(self) -> list[str]:
        return installed_models(self._home.models)

    def known(self) -> Sequence[str]:
        return tuple(catalogue())

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
        with contextlib.ExitStack() as watches:
            for deployment in self.served:
                watches.enter_context(deployment.life.notifying(queue))
            while True:
                await queue.get()
                yield

    def _to_replace(self, name: str | None) -> Deployment:
        if name is None:
            return min(self.served, key=lambda deployment: (deployment.abandoned, deployment.used_at))
        for deployment in self.served:
            if deployment.name == name:
                return deployment
        served = tuple(str(deployment.name) for deployment in self.served)
        raise ModelNotFoundError("deploy.not_served", model=name[:MAX_NAME], served=served)

    def _shares(self) -> Sequence[Share]:
        """What each model may use. Raises DoesNotFitError when they do not fit side by side, ModelNotFoundError."""
        models = [name for name in (self._settings.model, *self._settings.beside) if name is not None]
        packed = propose_packed(self._settings, models, self._home)
        if packed.in_turns:
            raise DoesNotFitError(
                "deploy.not_side_by_side",
                models=tuple(models),
                model=packed.in_turns[0].plan.model_name,
                available_bytes=packed.room.available_bytes,
                arguments=" ".join(models),
            )
        return packed.shares

    async def _until_all_ended(self, runs: Sequence["asyncio.Future[None]"]) -> None:
        """Waits until the last model is given up. Raises why it was."""
        left = set(runs)
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if not left or not isinstance(error, VedetteError):
                    task.result()
                else:
                    self._notify(Note(Message("deploy.others_go_on", error=error.message)))


async def _until_ready(deployment: Deployment) -> None:
    async with contextlib.aclosing(deployment.life.watch()) as statuses:
        async for status in statuses:
            if status.state is State.READY:
                return
