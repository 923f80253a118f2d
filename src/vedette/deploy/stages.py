"""How far a deployment is. Each stage holds the data that it has; the deployment's loop alone goes from one to another.

    Idle ─► Chosen ─► Prepared ─► Starting ─► Launched ─► Running
                         ▲            ▲  │         │          │
                         │            │  └─────────┴──────────┴──► Down
                         │            └──────────────────────────────┤   (another attempt)
                         └───────────────────────────────────────────┘   (another model)

The states that people see (engine/state.py) go along with them: preparing until `Prepared`, starting until `Running`,
then ready; failed while `Down`. An engine that is stopped, or could not be replaced, leads back to `Prepared`.
"""

import time
from dataclasses import dataclass, field
from typing import TypeAlias

from vedette.deploy.planning import Proposal
from vedette.deploy.recovery import Recovery
from vedette.device.device import Device
from vedette.engine.engine import Engine
from vedette.engine.hosts.host import Host
from vedette.engine.process.process_command import Command
from vedette.errors import Cause
from vedette.models.store.model_lookup import ModelRef
from vedette.plan.calibration import Calibration
from vedette.settings.table import Settings


@dataclass(frozen=True)
class Assignment:
    """Which model is to be served, and what crashes of its engine have taught."""

    settings: Settings
    ref: ModelRef
    stands_in_for: tuple[str, ...] = ()
    """Larger models of the family that do not fit any more."""
    recovery: Recovery = field(default_factory=Recovery)

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may call the model."""
        return (self.ref.name, *self.stands_in_for)


@dataclass(frozen=True)
class Idle:
    """Nothing is known yet."""


@dataclass(frozen=True)
class Chosen:
    """The model is known."""

    assignment: Assignment


@dataclass(frozen=True)
class Prepared(Chosen):
    """The model and what runs its engine are known; no engine runs."""

    host: Host

    def assigned(self, assignment: Assignment) -> "Prepared":
        """The same place with another model."""
        return Prepared(assignment, self.host)

    def starting(self, proposal: Proposal, known: Device) -> "Starting":
        """An engine is about to be started with this plan."""
        return Starting(self.assignment, self.host, proposal, known)


@dataclass(frozen=True)
class Starting(Prepared):
    """An engine is about to be started."""

    proposal: Proposal
    known: Device
    """The device that the plan was made for, with the memory that is this model's."""

    def launched(self, engine: Engine, command: Command) -> "Launched":
        """The engine's process runs."""
        return Launched(self.assignment, self.host, self.proposal, self.known, engine, command)

    def down(self, cause: Cause) -> "Down":
        """The engine has ended, or could not be started."""
        return Down(self.assignment, self.host, self.proposal, self.known, cause, None)


@dataclass(frozen=True)
class Launched(Starting):
    """An engine runs and is not ready yet."""

    engine: Engine
    command: Command

    def running(self, measured: Calibration | None) -> "Running":
        """The engine is ready. measured: what the start took, where that could be measured."""
        started = (self.assignment, self.host, self.proposal, self.known, self.engine, self.command)
        return Running(*started, measured, time.monotonic())


@dataclass(frozen=True)
class Running(Launched):
    """An engine is ready."""

    measured: Calibration | None
    ready_at: float
    """In seconds of the monotonic clock."""

    def down(self, cause: Cause) -> "Down":
        """The engine has ended after some time of service."""
        served_s = time.monotonic() - self.ready_at
        return Down(self.assignment, self.host, self.proposal, self.known, cause, served_s)


@dataclass(frozen=True)
class Down(Starting):
    """The engine has ended; nothing of it is left."""

    cause: Cause
    served_s: float | None
    """How long it was ready; None if it never was."""
    broke_off: bool = False
    """Whether an answer broke off with it."""


Stage: TypeAlias = Idle | Chosen | Prepared | Starting | Launched | Running | Down
