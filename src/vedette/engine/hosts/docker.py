"""Docker or Podman on this machine: which of them answers, and how it gives a container the GPU."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette.errors import EngineInstallError
from vedette.files import list_directory
from vedette.outputs import last_line, output_of

_NAMES = ("docker", "podman")
_RUNTIME = ("--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=all")
_CDI = ("--device", "nvidia.com/gpu=all")
_MOST_CDI_FILES = 1000
_CDI_DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))


_COMMAND_S = 600.0
"""Limit of a command: `info` takes a second, reading an image's vLLM takes minutes on a slow card."""
KILLED = -9
"""The status of a command that was killed at that limit, or because it printed without end."""


@dataclass(frozen=True)
class ContainerEngine:
    """A container engine that answers."""

    program: str
    gpu: tuple[str, ...] = _RUNTIME
    """The options that give a container the GPU; the Docker of JetPack has NVIDIA's runtime."""

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run one of its commands; return the exit status and all output; at most 4 MiB and ten minutes."""
        process = await asyncio.create_subprocess_exec(
            *(self.program, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        status, output = await output_of(process, _COMMAND_S)
        return KILLED if status is None else status, output.decode(errors="replace")


def is_container_engine_installed() -> bool:
    """Whether Docker or Podman is on PATH, working or not."""
    return any(shutil.which(name) is not None for name in _NAMES)


async def find_container_engine(
    needs_gpu: bool = True, cdi_directories: Sequence[Path] = _CDI_DIRECTORIES
) -> ContainerEngine:
    """The first container engine on PATH that answers and, if needed, can give a container the GPU.

    Raises EngineInstallError with the first problem found.
    """
    problem: EngineInstallError | None = None
    for name in _NAMES:
        program = shutil.which(name)
        if program is None:
            continue
        status, output = await ContainerEngine(program).run("info", "--format", "{{json .}}")
        try:
            info = parse_info(name, status, output)
            return ContainerEngine(program, parse_gpu_access(name, info, cdi_directories) if needs_gpu else ())
        except EngineInstallError as error:
            problem = problem or error
    raise problem or EngineInstallError("engine.no_container_engine")


def parse_info(name: str, status: int, output: str) -> dict[str, Any]:
    """The JSON that `info` prints. Raises EngineInstallError if the container engine does not work.

    Docker 28 exits with 0 and puts its errors into the JSON.
    """
    info: dict[str, Any] = {}
    with contextlib.suppress(ValueError, RecursionError):  # Podman's JSON has many lines; warnings surround it
        found, _ = json.JSONDecoder().raw_decode(output, max(0, output.find("{")))
        info = found if isinstance(found, dict) else {}
    errors = _texts(info.get("ServerErrors"))
    if status == 0 and info and not errors:
        return info
    reason = ("\n".join(errors) or output).strip()
    if "permission denied" in reason.lower():
        raise EngineInstallError("engine.container_engine_forbidden", name=name)
    if "cannot connect" in reason.lower():
        raise EngineInstallError("engine.container_engine_stopped", name=name)
    if not reason:
        raise EngineInstallError("engine.container_engine_silent", name=name)
    raise EngineInstallError("engine.container_engine_broken", name=name, error=last_line(reason) or "–")


def parse_gpu_access(name: str, info: dict[str, Any], cdi_directories: Sequence[Path]) -> tuple[str, ...]:
    """The options that give a container the GPU: NVIDIA's runtime if it is configured, else the device by CDI.

    Docker's `info` shows whether it reads CDI files; Podman always does. Raises EngineInstallError if neither works.
    """
    runtimes = info.get("Runtimes")
    if isinstance(runtimes, dict) and "nvidia" in runtimes:
        return _RUNTIME
    reads_cdi = name == "podman" or bool(info.get("CDISpecDirs"))
    if reads_cdi and any("nvidia" in path.name for directory in cdi_directories for path in _files(directory)):
        return _CDI
    if name == "docker":
        raise EngineInstallError("engine.docker_without_gpu")
    raise EngineInstallError("engine.podman_without_gpu")


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _files(directory: Path) -> list[Path]:
    try:
        return list_directory(directory, _MOST_CDI_FILES)
    except OSError:
        return []
