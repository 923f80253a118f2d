"""What the app needs to know of the deployment that it serves; `deploy` implements it."""

from collections.abc import AsyncIterator
from typing import Protocol

from vedette.engine.client import EngineClient
from vedette.errors import EngineUnavailableError
from vedette.plan.plan import Context


class Backend(Protocol):
    """One deployment, seen from the pages and the API; everything may change while pages are open."""

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

    def status_json(self) -> dict[str, object]:
        """What `vedette status --json` prints; the page reads state, phase, detail, done, total, since, cause
        and model of it."""

    def watch(self) -> AsyncIterator[dict[str, object]]:
        """`status_json()` at once, then whenever it changes."""


def ready(backend: Backend) -> tuple[EngineClient, Context]:
    """The engine and its budget. Raises EngineUnavailableError while there is none."""
    if backend.client is None or backend.context is None:
        raise EngineUnavailableError(
            f"The engine is not ready: {describe(backend.status_json())}.",
            "Try again in a few seconds; `vedette status` shows how far it is.",
        )
    return backend.client, backend.context


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
