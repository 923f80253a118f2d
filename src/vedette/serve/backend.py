"""What the app needs to know of the models that it serves; `fleet` and `deploy` implement it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from vedette.engine.client import EngineClient
from vedette.errors import EngineUnavailableError
from vedette.plan.plan import Context


class Served(Protocol):
    """One model, seen from the pages and the API; everything may change while pages are open, its name too."""

    @property
    def name(self) -> str | None:
        """What requests call the model; None while it is not known yet."""

    @property
    def names(self) -> Sequence[str]:
        """What requests may call it: its name, and that of a larger model that it stands in for."""

    @property
    def next_model(self) -> str | None:
        """The model that is about to take this one's place; None if none is."""

    @property
    def abandoned(self) -> bool:
        """It will never answer again."""

    @property
    def client(self) -> EngineClient | None:
        """The way to the engine; None unless it is ready."""

    @property
    def context(self) -> Context | None:
        """The budget of one request; None until there is a plan."""

    @property
    def thinks(self) -> bool:
        """The model can reason before it answers."""

    @property
    def sees(self) -> bool:
        """The model takes pictures."""

    def busy(self) -> AbstractContextManager[None]:
        """Held while a request is answered: no other model takes this one's place meanwhile."""

    def status_json(self) -> dict[str, object]:
        """How it stands; the page reads state, phase, detail, done, total, since, cause and model of it."""

    def watch(self) -> AsyncGenerator[dict[str, object], None]:
        """`status_json()` at once, then whenever it changes."""


class Backend(Protocol):
    """All models behind the one port."""

    @property
    def served(self) -> Sequence[Served]:
        """Never empty; the first answers requests that name no model."""

    @property
    def allow_swap(self) -> bool:
        """Anybody's request may change what is served."""

    def installed(self) -> list[str]:
        """Names of the models whose files are here."""

    async def swap(self, argument: str, replace: str | None = None) -> Served:
        """Serves another model in the place of `replace`, or of the one that was used longest ago.

        argument: a name, a directory or a Hugging Face id. Returns once it answers. Raises VedetteError when it is
        refused (nothing has changed then) or does not come up (what was there before is brought back then).
        """

    def status_json(self) -> dict[str, object]:
        """What `vedette status --json` prints."""

    def watch(self) -> AsyncGenerator[dict[str, object], None]:
        """`status_json()` at once, then whenever it changes."""


def ready(served: Served) -> tuple[EngineClient, Context]:
    """The engine and its budget. Raises EngineUnavailableError while there is none."""
    if served.client is None or served.context is None:
        raise not_ready(served)
    return served.client, served.context


def not_ready(served: Served) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"The engine is not ready: {describe(served.status_json())}.",
        "Try again in a few seconds; `vedette status` shows how far it is.",
    )


def describe(status: dict[str, object]) -> str:
    """A status in a few words: `starting, loading weights 3/7`."""
    words = str(status.get("state"))
    if status.get("phase"):
        words += f", {status['phase']}"
        if status.get("total"):
            words += f" {status['done']}/{status['total']}"
    cause = status.get("cause")
    if isinstance(cause, dict):
        words += f" ({str(cause.get('sentence', '')).rstrip('.')})"
    return words
