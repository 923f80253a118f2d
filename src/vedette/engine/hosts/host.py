"""The interface of a host, which runs an engine: an environment of vedette's, one of the user's, or a container."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import psutil

from vedette.engine.process.process_command import Command
from vedette.engine.vllm.flags import Target
from vedette.language.message import Message
from vedette.plan.plan import Plan

Report = Callable[[Message], None]
"""Receives each step of an installation."""


class Host(Protocol):
    """Installs an engine on this machine and gives the command that runs it."""

    kind: str
    """`environment` or `container`, as in a plan's JSON."""

    @property
    def version(self) -> str:
        """The version of vLLM; `make_ready` may correct it."""

    @property
    def python(self) -> Path | None:
        """An interpreter on this machine that has the engine's libraries; None for a container."""

    @property
    def image(self) -> str | None:
        """The name of the container image, by digest once that is known; None for an environment."""

    async def make_ready(self, report: Report) -> None:
        """Install or fetch the engine if it is missing. Raises VedetteError."""

    def arguments(self, plan: Plan, target: Target) -> tuple[str, ...]:
        """The whole command line of `command`, the program first."""

    def command(self, plan: Plan, target: Target) -> Command:
        """The command that serves this plan; the engine stops when this command does. Raises EngineVersionError."""

    def mark_broken(self) -> None:
        """Make the next `make_ready` install the engine again: it is there and does not work."""

    async def end(self) -> None:
        """Stop what a process of `command` started and what may outlive that process."""

    def processes(self) -> list[psutil.Process]:
        """The running engine's processes; [] if none runs, or none can be seen."""
