"""The states of a served model, and one record of them that everyone else watches.

    stopped ─► preparing ─► starting ─► ready ─► draining ─► stopped | preparing (another model)
                   │            │         │
                   └────────────┴─────────┴──► failed(cause) ─► preparing | stopped

Only the deployment writes; the page, the command line and the metrics watch.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from enum import Enum

from vedette.errors import Cause
from vedette.language.message import Message


class State(Enum):
    STOPPED = "stopped"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Phase(Enum):
    """What happens while preparing or starting, in this order."""

    DETECTING = "detecting_device"
    CHOOSING = "choosing_model"
    FETCHING = "fetching_model"
    INSTALLING = "installing_engine"
    PLANNING = "planning"
    LAUNCHING = "launching_engine"
    LOADING = "loading_weights"
    PROFILING = "profiling"
    COMPILING = "compiling"
    CAPTURING = "capturing_graphs"
    WARMING = "warming_up"


_NEXT: dict[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.PREPARING}),
    State.PREPARING: frozenset({State.STARTING, State.FAILED, State.DRAINING, State.STOPPED}),
    State.STARTING: frozenset({State.READY, State.FAILED, State.DRAINING, State.STOPPED}),
    State.READY: frozenset({State.DRAINING, State.FAILED}),
    State.DRAINING: frozenset({State.STOPPED, State.FAILED, State.PREPARING}),
    State.FAILED: frozenset({State.PREPARING, State.STARTING, State.DRAINING, State.STOPPED}),
}


@dataclass(frozen=True)
class Status:
    """The state at one moment. `done` of `total` are in units of the phase: bytes, weight shards."""

    state: State
    phase: Phase | None = None
    detail: Message | None = None
    done: int | None = None
    total: int | None = None
    cause: Cause | None = None
    since: float = field(default_factory=time.time)
    """Unix time at which this state and phase began, in seconds."""


class Life:
    """The record of states: one writer, any number of watchers."""

    def __init__(self) -> None:
        self.status = Status(State.STOPPED)
        self._phase_s: dict[Phase, float] = {}
        self._watchers: set[asyncio.Queue[Status]] = set()

    def enter(self, state: State, phase: Phase | None = None, cause: Cause | None = None) -> None:
        """Changes to `state`. Raises RuntimeError for a change that is not allowed: that is a bug."""
        if state is not self.status.state and state not in _NEXT[self.status.state]:
            raise RuntimeError(f"no way from {self.status.state.value} to {state.value}")
        if state is State.STARTING is not self.status.state:
            self._phase_s.clear()
        self._publish(Status(state, phase, cause=cause))

    @property
    def phase_s(self) -> dict[Phase, float]:
        """Seconds of each phase of the present or last start so far."""
        return self._phase_s_until(time.time())

    def progress(
        self, phase: Phase, detail: Message | None = None, done: int | None = None, total: int | None = None
    ) -> None:
        """Reports the progress of preparing or starting; does nothing in any other state."""
        now = self.status
        if now.state not in (State.PREPARING, State.STARTING):
            return
        since = now.since if now.phase is phase else time.time()
        self._publish(Status(now.state, phase, detail, done, total, since=since))

    @contextlib.contextmanager
    def notifying(self, queue: "asyncio.Queue[Status]") -> Iterator[None]:
        """Puts the present status into a queue now, and every later one."""
        queue.put_nowait(self.status)
        self._watchers.add(queue)
        try:
            yield
        finally:
            self._watchers.discard(queue)

    async def watch(self) -> AsyncGenerator[Status, None]:
        """Yields the present status, then every later one."""
        queue: asyncio.Queue[Status] = asyncio.Queue()
        with self.notifying(queue):
            while True:
                yield await queue.get()

    def _publish(self, status: Status) -> None:
        if status == self.status:
            return
        if status.phase is not self.status.phase:
            self._phase_s = self._phase_s_until(status.since)
        self.status = status
        for queue in self._watchers:
            queue.put_nowait(status)

    def _phase_s_until(self, now: float) -> dict[Phase, float]:
        phase, so_far = self.status.phase, dict(self._phase_s)
        if self.status.state is State.STARTING and phase is not None:
            so_far[phase] = so_far.get(phase, 0.0) + max(0.0, now - self.status.since)
        return so_far
