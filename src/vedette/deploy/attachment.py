"""A server that somebody else runs, served as if vedette had started it: asked and watched, never changed."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from vedette.deploy.fleet import MAX_NAME
from vedette.deploy.planning import wish_of
from vedette.engine.client import EngineClient
from vedette.engine.hosts.external_server import KEY_VARIABLE, ExternalServer, probe_picture, probe_text
from vedette.engine.hosts.server_facts import Facts, ProbeResult, context_of, find_name, picture_pixels
from vedette.engine.process.watchdog import TrafficWatch, wait_until_stuck
from vedette.engine.state import Life, Phase, State
from vedette.errors import (
    EngineAnswerError,
    EngineFailedError,
    EngineUnavailableError,
    ModelNotFoundError,
    RequestRefusedError,
    VedetteError,
    cause_of,
)
from vedette.events import ModelStatus, Note, Notify, ServiceStatus
from vedette.language.message import Message
from vedette.plan.deadlines import Patience, patience_with_server
from vedette.plan.plan import Context
from vedette.settings.table import Settings
from vedette.tasks import first_of


@dataclass(frozen=True)
class ServerLimits:
    """How a server is watched."""

    poll_s: float = 3.0
    """How often it is asked whether it still has the model."""
    silence_s: float = 5.0
    """How long it may take to say so, before it counts as stuck."""
    busy_s: float = 60.0
    """How long it may at least be silent while somebody waits for an answer: others' requests may go first."""


_LONGEST_SILENCE_S = 300.0
_SILENT = frozenset({"engine.server_silent", "engine.server_unreachable", "deploy.server_stuck"})
"""Causes after which no answer that was asked for will come."""
PROBE_WITHIN_S = 300.0
"""The server may load the model for the first question."""
PROBE_TOKENS = 16
"""Of the test question, where the server does not count them."""
_T = TypeVar("_T")
_LOADING_S = 0.5
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class _Model:
    """One model of the server, asked and found to answer."""

    client: EngineClient
    facts: Facts
    context: Context
    patience: Patience
    """How long it may be silent while somebody waits for an answer."""
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once another model is used."""


class Attachment:
    """A model of somebody's server; what the app serves (serve/backend.py) in the place of a deployment."""

    def __init__(self, settings: Settings, url: str, notify: Notify, limits: ServerLimits = ServerLimits()) -> None:
        self.life = Life()
        self.url = url
        self.allow_swap = settings.allow_swap
        self.engine_is_shared = True
        self.next_model: str | None = None
        self.leaving = ()
        self.abandoned = False
        self._swapping = asyncio.Lock()
        self.used_at = 0.0
        self.blames_request: bool | None = False
        self._server = ExternalServer(settings.engine, os.environ.get(KEY_VARIABLE))
        self._wanted = settings.model
        self._wish = wish_of(settings)
        self._notify = notify
        self._limits = limits
        self._silence_s = limits.silence_s
        self._offered: Mapping[str, Facts] = {}
        self._model: _Model | None = None

    # What `serve` sees

    @property
    def served(self) -> Sequence["Attachment"]:
        return (self,)

    @property
    def name(self) -> str | None:
        return self._model.client.model_name if self._model else None

    @property
    def names(self) -> Sequence[str]:
        return (self.name,) if self.name else ()

    @property
    def client(self) -> EngineClient | None:
        return self._model.client if self._model and self.life.status.state is State.READY else None

    @property
    def context(self) -> Context | None:
        return self._model.context if self._model else None

    @property
    def thinks(self) -> bool:
        return bool(self._model and self._model.facts.thinks)

    @property
    def sees(self) -> bool:
        return bool(self._model and self._model.facts.sees)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        self.used_at = time.monotonic()
        yield

    def installed(self) -> list[str]:
        """The models that the server has."""
        return list(self._offered)

    def known(self) -> Sequence[str]:
        return ()

    async def swap(self, argument: str, replace: str | None = None) -> "Attachment":
        """Serves another model of the same server. Raises VedetteError; the model before is still served then."""
        async with self._swapping:
            name = self._find(argument)
            if name != self.name:
                self.next_model = name
                try:
                    model = await self._ask(name, await self._server.read_facts(name, self._offered[name]))
                    if self.client is None:
                        await model.client.close()
                        raise EngineUnavailableError("deploy.server_gone", server=self._server.name)
                    await self._use(model)
                finally:
                    self.next_model = None
            self._wanted = name
        return self

    @property
    def status(self) -> ModelStatus:
        return ModelStatus(self.life.status, self.name, self.next_model, f"{self.url}/", f"{self.url}/v1")

    @property
    def service_status(self) -> ServiceStatus:
        return ServiceStatus((self.status,))

    async def watch(self) -> AsyncGenerator[None, None]:
        async with contextlib.aclosing(self.life.watch()) as statuses:
            async for _ in statuses:
                yield

    # Staying attached

    async def run(self) -> None:
        """Attaches, and attaches again whenever the server returns, until cancelled.

        Raises VedetteError when the first attempt fails.
        """
        try:
            self.life.enter(State.PREPARING, Phase.CHOOSING)
            await self._read_offer()
            await self._attach()
            while True:
                await self._reattach(await self._until_changed_or_stuck())
        finally:
            self.life.enter(State.DRAINING)
            if self._model is not None:
                await self._model.client.close()
            await self._server.close()
            self.life.enter(State.STOPPED)

    async def _read_offer(self) -> None:
        """Reads which models the server has, once it has loaded. Raises VedetteError if the wanted one is missing."""
        while await self._server.is_loading():
            self.life.progress(Phase.LOADING)
            await asyncio.sleep(_LOADING_S)
        self._offered = await self._server.read_models()
        if self._wanted is not None:
            self._find(self._wanted)

    async def _attach(self) -> None:
        self.life.enter(State.PREPARING, Phase.CHOOSING)
        name, facts = await self._choose()
        self.life.enter(State.STARTING, Phase.WARMING)
        await self._use(await self._ask(name, facts))

    async def _until_changed_or_stuck(self) -> VedetteError:
        """Why the server has to be asked again."""
        silent = EngineUnavailableError("deploy.server_stuck", server=self._server.name)
        return await first_of(self._until_changed(), self._until_stuck()) or silent

    async def _until_stuck(self) -> None:
        """Return once a model has kept somebody waiting for too long without a sign of work."""
        model = self._model
        while model is not None:
            stuck = wait_until_stuck(TrafficWatch(model.client).read, model.patience)
            await first_of(stuck, model.replaced.wait())
            if model is self._model:
                return
            model = self._model

    async def _until_changed(self) -> VedetteError:
        """Why the server has to be asked again: it does not answer, or has another model or another context."""
        while True:
            await asyncio.sleep(self._limits.poll_s)
            name, received_bytes = self.name, self._received_bytes()
            try:
                before, self._offered = self._offered, await self._server.read_models(self._silence_s)
            except VedetteError as error:
                if self._received_bytes() != received_bytes:
                    continue  # some servers say nothing else while they answer
                return error
            if name == self.name and name is not None and before.get(name) != self._offered.get(name):
                return EngineFailedError("deploy.server_changed", server=self._server.name)

    def _received_bytes(self) -> int:
        return self._model.client.traffic.received_bytes if self._model else 0

    async def _reattach(self, error: VedetteError) -> None:
        """Returns once it serves again; each cause is shown once, however many attempts fail."""
        pause_s = _LOADING_S
        while True:
            cause = cause_of(error)
            if self.life.status.cause != cause:
                self.life.enter(State.FAILED, cause=cause)
            if self._model is not None and cause.message.code in _SILENT:
                await self._model.client.close(cause)  # clients that wait for an answer get the cause
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                await self._read_offer()
                await self._attach()
            except VedetteError as again:
                error = again
            else:
                if cause.message.code in _SILENT:  # it was slow and not stuck: more patience from now on
                    self._silence_s = min(2 * self._silence_s, _LONGEST_SILENCE_S)
                return

    async def _use(self, model: _Model) -> None:
        before, self._model = self._model, model
        self._notify(Note(self._describe(model)))
        self.life.enter(State.READY)
        if before is not None:
            before.replaced.set()
            await before.client.close()

    # Asking

    async def _choose(self) -> tuple[str, Facts]:
        """The wanted model, or the first one for chats. Raises ModelNotFoundError."""
        for name in [self._find(self._wanted)] if self._wanted is not None else self._offered:
            facts = await self._server.read_facts(name, self._offered[name])
            if facts.chats is not False or self._wanted is not None:
                return name, facts
        raise ModelNotFoundError("deploy.server_has_no_chat_model", server=self._server.name)

    def _find(self, wanted: str) -> str:
        name = find_name(wanted, list(self._offered))
        if name is None:
            server, model = self._server.name, wanted[:MAX_NAME]
            if not self._offered:
                raise ModelNotFoundError("deploy.server_has_nothing", server=server, model=model)
            raise ModelNotFoundError(
                "deploy.server_lacks_model", server=server, model=model, offered=tuple(self._offered)
            )
        return name

    async def _ask(self, name: str, facts: Facts) -> _Model:
        """Has the model answer, and finds out what it can. Raises VedetteError when it does not answer."""
        client = self._server.client(name, facts)
        try:
            began = time.monotonic()
            thought, words_tokens = await self._within(PROBE_WITHIN_S, probe_text(client))
            tokens_per_s = (words_tokens or PROBE_TOKENS) / max(0.001, time.monotonic() - began)
            facts = await self._server.read_running(name) | facts
            visual_tokens = None
            if facts.sees is not False and self._wish.images_per_request != 0:
                try:
                    pixels = picture_pixels(self._wish)
                    visual_tokens = await self._within(PROBE_WITHIN_S, probe_picture(client, pixels, words_tokens))
                    facts = replace(facts, sees=True)
                except (
                    RequestRefusedError,
                    EngineUnavailableError,
                    EngineAnswerError,
                ):  # not every server says 4xx for what it cannot
                    facts = replace(facts, sees=False)
        except BaseException:
            await client.close()
            raise
        facts = replace(facts, thinks=thought or facts.thinks)
        context = context_of(facts, ProbeResult(thought, visual_tokens), self._wish)
        patience = patience_with_server(context.max_model_len, tokens_per_s, self._limits.busy_s)
        return _Model(client, facts, context, patience)

    async def _within(self, limit_s: float, asking: Awaitable[_T]) -> _T:
        """The answer to a test question. Raises EngineUnavailableError if it does not come in time."""
        try:
            return await asyncio.wait_for(asking, limit_s)
        except asyncio.TimeoutError as error:
            raise EngineUnavailableError("engine.server_silent", server=self._server.name, silence_s=limit_s) from error

    def _describe(self, model: _Model) -> Message:
        context, pixels = model.context, model.context.image_max_pixels
        tokens = context.max_model_len
        known = model.facts.max_model_len is not None
        return Message(
            "deploy.attached",
            model=model.client.model_name,
            server=self._server.name,
            context=Message("deploy.context", tokens=tokens)
            if known
            else Message("deploy.context_assumed", tokens=tokens),
            pictures=Message("deploy.pictures_up_to", pixels=pixels) if pixels else Message("deploy.no_pictures"),
        )
