"""An environment with vLLM that a person has made: looked at and run, never changed."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from vedette.engine.hosts.host import Report
from vedette.engine.process.process import Command
from vedette.engine.process.workplace import find_processes
from vedette.engine.vllm.flags import (
    Target,
    inherited_environment,
    preload,
    serve_arguments,
    serve_environment,
    temporary_environment,
)
from vedette.engine.vllm.software import Software, read_software, write_software
from vedette.engine.vllm.versions import parse_help
from vedette.errors import EngineInstallError
from vedette.plan.plan import Plan

_VLLM = ("-m", "vllm.entrypoints.cli.main")
"""What the `vllm` command runs; an interpreter may have the package without the command."""
_WHICH = """
import importlib.metadata, importlib.util, json
spec = importlib.util.find_spec("vllm")
print(json.dumps([importlib.metadata.version("vllm"), spec.origin] if spec and spec.origin else None))
"""
"""Answers at once, for it imports nothing of vLLM."""
_KEPT = re.compile("PYTHONPATH|VIRTUAL_ENV|CC|CXX|(VLLM|TORCH|TRITON|FLASHINFER|NCCL|GLOO|CONDA|XDG)_.*")
_NOT_KEPT = {
    "VLLM_API_KEY",  # would lock vedette out
    "VLLM_PORT",
    "VLLM_CPU_KVCACHE_SPACE",  # overrides the planned KV cache
    "VLLM_ENABLE_V1_MULTIPROCESSING",  # more processes than planned
}


@dataclass(frozen=True)
class Found:
    """The vLLM that an interpreter imports."""

    version: str
    package: Path


class AdoptedHost:
    """The engine in somebody's environment, as processes of this machine."""

    kind = "environment"
    image = None

    def __init__(self, python: Path, found: Found, cache: Path, workplace: Path) -> None:
        self.python = python
        self._cache = cache
        self._workplace = workplace
        key = f"{python} {found.package} {found.package.stat().st_mtime_ns} {found.version}"
        self._kept = cache / "environments" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        self._software = read_software(self._kept) or Software(found.version)

    @property
    def version(self) -> str:
        return self._software.version

    async def make_ready(self, report: Report) -> None:
        """Asks it what it understands, unless it has said so before. Raises EngineInstallError."""
        if self._software.options is not None:
            return
        report(f"asking the vLLM of {self.python} what it understands")
        understood = parse_help(await _answer(self.python, (*_VLLM, "serve", "--help=all")))
        if not understood:
            raise _unusable(self.python, "nothing of its options")
        software = Software(self.version, understood)
        write_software(self._kept, software)
        self._software = software

    def arguments(self, plan: Plan, target: Target) -> tuple[str, ...]:
        software = self._software
        serve = serve_arguments(plan.settings, target, software.version, software.options)
        return (str(self.python), *_VLLM, *serve)

    def command(self, plan: Plan, target: Target) -> Command:
        own = serve_environment(self._cache, plan.settings, self.version) | temporary_environment(self._workplace)
        variables = adopted_environment(os.environ, own)
        return Command(self.arguments(plan, target), variables, self._workplace, preload=preload(plan.settings))

    def mark_broken(self) -> None:
        """Whoever made it mends it; what it understands is asked again."""
        self._kept.unlink(missing_ok=True)

    async def end(self) -> None:
        """Its processes end with the command's."""

    def processes(self) -> list[psutil.Process]:
        return find_processes(self._workplace)


async def adopt(place: Path, cache: Path, workplace: Path) -> AdoptedHost:
    """The host for an environment's directory, or for its interpreter. Raises EngineInstallError."""
    python = find_python(place)
    answer = json.loads((await _answer(python, ("-c", _WHICH))).splitlines()[-1])
    if answer is None:
        raise EngineInstallError(
            f"There is no vLLM in the environment of {python}.",
            f"Install it (`{python} -m pip install vllm`), or name another environment (VEDETTE_ENGINE).",
        )
    version, package = answer
    return AdoptedHost(python, Found(version, Path(package)), cache, workplace)


def find_python(place: Path) -> Path:
    """The interpreter of an environment, which may be named itself, or by its `vllm`. Raises EngineInstallError."""
    place = place.expanduser().absolute()  # not resolved: an environment's interpreter is a link, and is known by it
    if place.name == "vllm" and place.is_file():
        place = place.with_name("python")
    found = next(
        (path for path in (place, place / "bin" / "python", place / "bin" / "python3") if path.is_file()), None
    )
    if found is None:
        raise EngineInstallError(
            f"There is no environment in {place}: it has no bin/python.",
            "Let VEDETTE_ENGINE name a virtual environment's directory with vLLM in it, or leave it out.",
        )
    return found


def adopted_environment(environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The variables of an engine that a person has set up; own: what vedette would set.

    What the person has set for it holds, unless it would be another engine than the planned one.
    """
    kept = {name: value for name, value in environment.items() if _KEPT.fullmatch(name) and name not in _NOT_KEPT}
    return inherited_environment(environment) | dict(own) | kept


async def _answer(python: Path, arguments: tuple[str, ...]) -> str:
    """What an interpreter prints. Raises EngineInstallError when it cannot."""
    with tempfile.TemporaryDirectory() as directory:  # torch makes one of its own as soon as it is imported
        return await _answer_from(python, arguments, {"TMPDIR": directory})


async def _answer_from(python: Path, arguments: tuple[str, ...], own: Mapping[str, str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(python), *arguments),
            env=adopted_environment(os.environ, own),
            cwd="/",  # where it looks for modules first
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise _unusable(python, error.strerror or str(error)) from error
    try:
        output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if process.returncode != 0:
        lines = complaints.decode(errors="replace").splitlines()
        raise _unusable(python, next((line.strip() for line in reversed(lines) if line.strip()), "nothing"))
    return output.decode(errors="replace")


def _unusable(python: Path, said: str) -> EngineInstallError:
    return EngineInstallError(
        f"The vLLM of {python} does not run here; it said: {said}",
        "Mend what it names, or name another environment (VEDETTE_ENGINE).",
    )
