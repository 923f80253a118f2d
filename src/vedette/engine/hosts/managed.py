"""The engine in an environment that vedette makes and keeps intact."""

import os
from pathlib import Path

import psutil

from vedette.engine.hosts.environment import Environment, mark_broken
from vedette.engine.hosts.host import Report
from vedette.engine.hosts.installer import InstallSettings, ensure
from vedette.engine.hosts.recipes import Recipe
from vedette.engine.process.process_command import Command
from vedette.engine.process.workplace import find_processes
from vedette.engine.vllm.flags import (
    Target,
    inherited_environment,
    preload,
    serve_arguments,
    serve_environment,
    temporary_environment,
)
from vedette.plan.plan import Plan


class ManagedHost:
    """The host for an environment of vedette's; the engine runs as processes of this machine."""

    kind = "environment"
    image = None

    def __init__(self, recipe: Recipe, engines: Path, torch_index: str, cache: Path, workplace: Path) -> None:
        self.version = recipe.version
        self._environment = Environment(engines / recipe.name, recipe)
        self._torch_index = torch_index
        self._cache = cache
        self._workplace = workplace

    @property
    def python(self) -> Path:
        return self._environment.python

    async def make_ready(self, report: Report) -> None:
        recipe, engines = self._environment.recipe, self._environment.root.parent
        await ensure(recipe, InstallSettings(engines, self._torch_index, self._workplace, report))

    def arguments(self, plan: Plan, target: Target) -> tuple[str, ...]:
        return (*self._environment.program, *serve_arguments(plan.settings, target, self.version))

    def command(self, plan: Plan, target: Target) -> Command:
        own = serve_environment(self._cache, plan.settings, self.version) | temporary_environment(self._workplace)
        variables = inherited_environment(os.environ) | own
        return Command(self.arguments(plan, target), variables, self._workplace, preload=preload(plan.settings))

    def mark_broken(self) -> None:
        mark_broken(self._environment)

    async def end(self) -> None:
        """Do nothing: all processes run in the working directory and stop with the command."""

    def processes(self) -> list[psutil.Process]:
        return find_processes(self._workplace)
