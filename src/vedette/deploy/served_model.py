"""One model as `serve` reads it (serve/backend.py): its names, its state, its limits, and the answers in progress."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from vedette.deploy.planning import Proposal
from vedette.deploy.stages import Chosen, Idle, Launched, Running, Stage
from vedette.deploy.swap import Orders
from vedette.engine.client import EngineClient
from vedette.engine.state import Life
from vedette.errors import EngineUnavailableError, EngineUnreachableError
from vedette.events import ModelStatus
from vedette.plan.plan import Context

_BROKE_OFF_S = 3.0
"""A server may end up to two seconds after its engine core (engine/process/process.py)."""


class ServedModel:
    """What can be read of a deployment. Only the deployment's loop changes its stage and plan (deployment.py)."""

    def __init__(self, url: str) -> None:
        self.life = Life()
        self.url = url
        self.used_at = 0.0
        """Time of the last request, in seconds of the monotonic clock."""
        self.blames_request: bool | None = False
        self._stage: Stage = Idle()
        self._proposal: Proposal | None = None
        """The last plan. Its limits stay valid while the engine restarts."""
        self._plan_json: dict[str, Any] | None = None
        """The plan of the last start, as JSON; None before the first start."""
        self._orders = Orders()
        self._leaving: Sequence[str] = ()
        self._answering = 0
        self._broke_off_at = float("-inf")
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def name(self) -> str | None:
        return self._stage.assignment.ref.name if isinstance(self._stage, Chosen) else None

    @property
    def names(self) -> Sequence[str]:
        return self._stage.assignment.names if isinstance(self._stage, Chosen) else ()

    @property
    def next_model(self) -> str | None:
        return self._orders.next_model

    @property
    def leaving(self) -> Sequence[str]:
        return self._leaving

    @property
    def abandoned(self) -> bool:
        return self._orders.closed

    @property
    def client(self) -> EngineClient | None:
        return self._stage.engine.client if isinstance(self._stage, Running) else None

    @property
    def context(self) -> Context | None:
        return self._proposal.plan.context if self._proposal else None

    @property
    def thinks(self) -> bool:
        return self._proposal is not None and self._proposal.model.thinks

    @property
    def sees(self) -> bool:
        return self._proposal is not None and self._proposal.model.vision is not None

    @property
    def status(self) -> ModelStatus:
        stage = self._stage
        return ModelStatus(
            self.life.status,
            self.name,
            self.next_model,
            page_url=f"{self.url}/",
            api_url=f"{self.url}/v1",
            engine_pid=stage.engine.pid if isinstance(stage, Launched) else None,
            plan=self._plan_json,
            recovered=tuple(stage.assignment.recovery.history) if isinstance(stage, Chosen) else (),
        )

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        self._answering += 1
        self._idle.clear()
        self.used_at = time.monotonic()
        try:
            yield
        except EngineUnreachableError:
            raise
        except EngineUnavailableError:
            self._broke_off_at = time.monotonic()
            raise
        finally:
            self._answering -= 1
            if not self._answering:
                self._idle.set()

    def broke_off_lately(self) -> bool:
        """Whether an answer has broken off just now, or is about to: an engine's end is noticed within a second."""
        return self._answering > 0 or time.monotonic() - self._broke_off_at < _BROKE_OFF_S

    async def watch(self) -> AsyncGenerator[None, None]:
        async with contextlib.aclosing(self.life.watch()) as statuses:
            async for _ in statuses:
                yield

    async def drain(self, most_s: float) -> None:
        """Wait until all answers in progress have ended, at most `most_s` seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), most_s)
