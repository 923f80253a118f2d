"""Where engines run: the one interface that an environment of its own and a container share."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import psutil

from vedette.engine.process.process import Command
from vedette.engine.vllm.flags import Target
from vedette.plan.plan import Plan

Report = Callable[[str], None]
"""Is told each step, in a person's words."""


class Host(Protocol):
    """Makes an engine runnable on this machine and says how to run it."""

    kind: str
    """As a plan's JSON has it: environment, container."""

    @property
    def version(self) -> str:
        """vLLM's; `make_ready` may find that it is another one than was thought."""

    @property
    def python(self) -> Path | None:
        """An interpreter of this machine that has the engine's libraries."""

    @property
    def image(self) -> str | None:
        """The container image that it runs in, by digest where that is known; None outside of containers."""

    async def make_ready(self, report: Report) -> None:
        """Installs or fetches the engine if need be. Raises VedetteError."""

    def arguments(self, plan: Plan, target: Target) -> tuple[str, ...]:
        """The whole command line of `command`, its program first."""

    def command(self, plan: Plan, target: Target) -> Command:
        """What serves this plan; when it ends, the engine does. Raises EngineVersionError."""

    def mark_broken(self) -> None:
        """The engine is there but does not work: the next `make_ready` is to make it anew."""

    async def end(self) -> None:
        """Ends what a process of `command` has started elsewhere, where ending that process might not."""

    def processes(self) -> list[psutil.Process]:
        """Those of the running engine, wherever they run; [] where there are none, or none that can be seen."""
