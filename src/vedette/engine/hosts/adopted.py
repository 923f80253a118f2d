"""The engine in an environment that the user has made: vedette runs it and never changes it."""

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from vedette.engine.hosts.host import Report
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
from vedette.engine.vllm.software import Software, read_software, write_software
from vedette.engine.vllm.versions import parse_help
from vedette.errors import EngineInstallError
from vedette.language.message import Message
from vedette.outputs import last_line, lines_of, output_of
from vedette.plan.plan import Plan

_VLLM = ("-m", "vllm.entrypoints.cli.main")
"""What the `vllm` command runs; an interpreter may have the package without the command."""
_FIND_VLLM = """
import importlib.metadata, importlib.util, json
spec = importlib.util.find_spec("vllm")
print(json.dumps([importlib.metadata.version("vllm"), spec.origin] if spec and spec.origin else None))
"""
"""Prints version and file of the vLLM package, at once: it imports nothing of vLLM."""
_USERS_VARIABLES = re.compile("PYTHONPATH|VIRTUAL_ENV|CC|CXX|(VLLM|TORCH|TRITON|FLASHINFER|NCCL|GLOO|CONDA|XDG)_.*")
_EXCLUDED = {
    "VLLM_API_KEY",  # the engine would refuse vedette's requests
    "VLLM_PORT",
    "VLLM_CPU_KVCACHE_SPACE",  # overrides the planned KV cache
    "VLLM_ENABLE_V1_MULTIPROCESSING",  # more processes than planned
}
_ANSWER_S = 600.0
"""Limit of an interpreter's answer: vLLM's help imports vLLM, which takes minutes on a slow card."""


@dataclass(frozen=True)
class InstalledVllm:
    """The vLLM that an interpreter imports."""

    version: str
    package: Path
    """The package's `__init__.py`."""


class AdoptedHost:
    """The host for an environment of the user's; the engine runs as processes of this machine."""

    kind = "environment"
    image = None

    def __init__(self, python: Path, vllm: InstalledVllm, cache: Path, workplace: Path) -> None:
        self.python = python
        self._cache = cache
        self._workplace = workplace
        key = f"{python} {vllm.package} {vllm.package.stat().st_mtime_ns} {vllm.version}"
        self._software_file = cache / "environments" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        self._software = read_software(self._software_file) or Software(vllm.version)

    @property
    def version(self) -> str:
        return self._software.version

    async def make_ready(self, report: Report) -> None:
        """Read the engine's options, unless they are known. Raises EngineInstallError."""
        if self._software.options is not None:
            return
        report(Message("engine.reading_options", python=str(self.python)))
        options = parse_help(await _output_of(self.python, (*_VLLM, "serve", "--help=all")))
        if not options:
            raise EngineInstallError("engine.vllm_without_options", python=str(self.python))
        software = Software(self.version, options)
        write_software(self._software_file, software)
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
        """Make the next start read the options again; only the user can repair the environment."""
        self._software_file.unlink(missing_ok=True)

    async def end(self) -> None:
        """Do nothing: all processes run in the working directory and stop with the command."""

    def processes(self) -> list[psutil.Process]:
        return find_processes(self._workplace)


async def adopt(place: Path, cache: Path, workplace: Path) -> AdoptedHost:
    """The host for an environment's directory, or for its interpreter. Raises EngineInstallError."""
    python = find_python(place)
    found = parse_vllm(await _output_of(python, ("-c", _FIND_VLLM)))
    if found is None:
        raise EngineInstallError("engine.environment_without_vllm", python=str(python))
    return AdoptedHost(python, found, cache, workplace)


def parse_vllm(output: str) -> InstalledVllm | None:
    """The vLLM in the last line that `_FIND_VLLM` prints; None if there is none, or the program is no Python."""
    try:
        version, package = msgspec.json.decode(last_line(output) or "", type=tuple[str, str])
    except (ValueError, RecursionError):
        return None
    return InstalledVllm(version, Path(package)) if Path(package).is_file() else None


def find_python(place: Path) -> Path:
    """The interpreter of an environment; place: its directory, its interpreter or its `vllm` command.

    Raises EngineInstallError.
    """
    place = place.expanduser().absolute()  # not resolved: Python finds an environment by its interpreter's own path
    if place.name == "vllm" and place.is_file():
        place = place.with_name("python")
    candidates = (place, place / "bin" / "python", place / "bin" / "python3")
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise EngineInstallError("engine.no_environment", place=str(place))
    return found


def adopted_environment(environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of an engine that the user has set up; own: the variables that vedette sets.

    The user's variables for vLLM and its libraries win, except those that would contradict the plan.
    """
    users = {
        name: value for name, value in environment.items() if _USERS_VARIABLES.fullmatch(name) and name not in _EXCLUDED
    }
    return inherited_environment(environment) | dict(own) | users


async def _output_of(python: Path, arguments: tuple[str, ...]) -> str:
    """What an interpreter prints. Raises EngineInstallError if it fails."""
    with tempfile.TemporaryDirectory() as directory:  # torch makes a directory there as soon as it is imported
        variables = adopted_environment(os.environ, {"TMPDIR": directory})
        try:
            process = await asyncio.create_subprocess_exec(
                *(str(python), *arguments),
                env=variables,
                cwd="/",  # do not import modules from the current directory
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise EngineInstallError(
                "engine.vllm_failed", python=str(python), error=error.strerror or str(error)
            ) from error
        (status, output), complaint = await asyncio.gather(
            output_of(process, _ANSWER_S), _last_line_of(process.stderr, _ANSWER_S)
        )
    if status != 0:
        raise _explain(python, complaint)
    return output.decode(errors="replace")


async def _last_line_of(stream: asyncio.StreamReader | None, within_s: float) -> str | None:
    last = None
    with contextlib.suppress(asyncio.TimeoutError):
        async with contextlib.aclosing(lines_of(stream)) as lines:
            while (line := await asyncio.wait_for(anext(lines, None), within_s)) is not None:
                last = line
    return None if last is None else last_line(last)


def _explain(python: Path, last: str | None) -> EngineInstallError:
    if last is None:
        return EngineInstallError("engine.vllm_failed_silently", python=str(python))
    return EngineInstallError("engine.vllm_failed", python=str(python), error=last)
