"""What the app needs to know of the models that it serves; deploy/ implements it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from vedette.engine.client import EngineClient
from vedette.engine.state import Phase
from vedette.errors import EngineUnavailableError
from vedette.events import ModelStatus, ServiceStatus
from vedette.language.message import Message
from vedette.plan.plan import Context


class Served(Protocol):
    """One model as the pages and the API see it; everything may change while pages are open, its name too."""

    @property
    def name(self) -> str | None:
        """The model's name in requests; None while it is not known yet."""

    @property
    def names(self) -> Sequence[str]:
        """All names that requests may use: its own, and that of a larger model that it stands in for."""

    @property
    def next_model(self) -> str | None:
        """The model that a swap is about to put in this one's place; None if there is no swap."""

    @property
    def leaving(self) -> Sequence[str]:
        """The names of the model that a swap replaces, until the swap has ended: that model returns if it fails."""

    @property
    def abandoned(self) -> bool:
        """Whether it was given up for good."""

    @property
    def blames_request(self) -> bool | None:
        """Whether a request in flight was why the engine last ran out of memory; None until that is known."""

    @property
    def client(self) -> EngineClient | None:
        """The way to the engine; None unless it is ready."""

    @property
    def context(self) -> Context | None:
        """The budget of one request; None until there is a plan."""

    @property
    def thinks(self) -> bool:
        """Whether the model can reason before it answers."""

    @property
    def sees(self) -> bool:
        """Whether the model takes pictures."""

    def busy(self) -> AbstractContextManager[None]:
        """Entered while a request is answered: a swap waits until nobody is inside."""

    @property
    def status(self) -> ModelStatus:
        """Its state, phase, cause and plan."""

    def watch(self) -> AsyncGenerator[None, None]:
        """Yields at once, then whenever `status` has changed."""


class Backend(Protocol):
    """All models behind the one port."""

    @property
    def served(self) -> Sequence[Served]:
        """Never empty; the first answers requests that name no model."""

    @property
    def allow_swap(self) -> bool:
        """Whether everyone who may ask the models may also change them: by a swap, or a request that names another."""

    @property
    def engine_is_shared(self) -> bool:
        """Whether others use the engine past vedette: how much it can take at once is its own affair then."""

    def installed(self) -> list[str]:
        """Names of the models whose files are on this machine."""

    def known(self) -> Sequence[str]:
        """Names of the models that can be fetched without naming a place."""

    async def swap(self, argument: str, replace: str | None = None) -> Served:
        """Serve another model in the place of `replace`, or of the one that was used longest ago.

        argument: a name, a directory or a Hugging Face id. Returns once it answers. Raises VedetteError when the swap
        is refused (nothing has changed then) or the model does not start (the one before is brought back then).
        """

    @property
    def service_status(self) -> ServiceStatus:
        """The status of every model."""

    def watch(self) -> AsyncGenerator[None, None]:
        """Yields at once, then whenever the status of one of them has changed."""


def ready(served: Served) -> tuple[EngineClient, Context]:
    """The engine and the budget of one request. Raises EngineUnavailableError while there is none."""
    if served.client is None or served.context is None:
        raise not_ready(served)
    return served.client, served.context


def not_ready(served: Served) -> EngineUnavailableError:
    """The error that says how far the engine is."""
    message = not_ready_message(served.status)
    return EngineUnavailableError(message.code, **message.params)


def not_ready_message(status: ModelStatus) -> Message:
    """Why the engine does not answer: `The engine is not ready: starting, loading weights 3/7.`"""
    now = status.status
    state = Message(f"state.{now.state.value}")
    if now.cause is not None:
        return Message("serve.not_ready_failed", cause=now.cause.message)
    if now.phase is None:
        return Message("serve.not_ready", state=state)
    phase = Message(f"phase.{now.phase.value}")
    if not now.total or now.done is None:
        return Message("serve.not_ready_phase", state=state, phase=phase)
    if now.phase is Phase.FETCHING:
        return Message("serve.not_ready_fetching", state=state, phase=phase, done_bytes=now.done, total_bytes=now.total)
    return Message("serve.not_ready_progress", state=state, phase=phase, done=now.done, total=now.total)
