"""Docker or Podman as it is on this machine: which one answers, and how it lets a container have the GPU."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette.errors import EngineInstallError

_NAMES = ("docker", "podman")
_RUNTIME = ("--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=all")
_CDI = ("--device", "nvidia.com/gpu=all")
_CDI_DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))


@dataclass(frozen=True)
class ContainerEngine:
    """A container engine that answers."""

    program: str
    gpu: tuple[str, ...] = _RUNTIME
    """The options that let a container have the GPU; a JetPack's Docker has the runtime for it."""

    async def ask(self, *arguments: str) -> tuple[int, str]:
        """Exit status and all output of one of its commands."""
        process = await asyncio.create_subprocess_exec(
            *(self.program, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        return process.returncode or 0, output.decode(errors="replace")


def is_container_engine_installed() -> bool:
    """Whether there is one on PATH, in whatever state."""
    return any(shutil.which(name) is not None for name in _NAMES)


async def find_container_engine(
    needs_gpu: bool = True, cdi_directories: Sequence[Path] = _CDI_DIRECTORIES
) -> ContainerEngine:
    """The first container engine on PATH that answers and, where one is needed, has a way to the GPU.

    Raises EngineInstallError that says what is missing and how to get it.
    """
    problem: EngineInstallError | None = None
    for name in _NAMES:
        program = shutil.which(name)
        if program is None:
            continue
        status, output = await ContainerEngine(program).ask("info", "--format", "{{json .}}")
        try:
            info = parse_info(name, status, output)
            return ContainerEngine(program, parse_gpu_access(name, info, cdi_directories) if needs_gpu else ())
        except EngineInstallError as error:
            problem = problem or error
    raise problem or EngineInstallError(
        "The engine runs in a container here, and neither Docker nor Podman is on this machine's PATH.",
        "Install one (`sudo apt install docker.io nvidia-container-toolkit`), or see the command to run elsewhere "
        "with `vedette up --print`.",
    )


def parse_info(name: str, status: int, output: str) -> dict[str, Any]:
    """What `info` says as JSON. Raises EngineInstallError when the container engine does not answer."""
    found: dict[str, Any] = {}
    with contextlib.suppress(ValueError):  # Podman writes it over many lines; warnings stand before or after it
        found, _ = json.JSONDecoder().raw_decode(output, max(0, output.find("{")))
    wrong = "\n".join(found.get("ServerErrors") or ()) or (output if status or not found else "")
    if not wrong:
        return found
    if "permission denied" in wrong.lower():
        raise EngineInstallError(
            f"You may not use {name} on this machine.",
            f"Allow it (`sudo usermod -aG {name} $USER`, then log in again).",
        )
    if "cannot connect" in wrong.lower():
        raise EngineInstallError(
            f"{name} is installed but its service does not run.", f"Start it: `sudo systemctl start {name}`."
        )
    last = wrong.strip().splitlines()[-1] if wrong.strip() else "nothing"
    raise EngineInstallError(f"{name} does not work here; it said: {last}", f"Mend it until `{name} info` succeeds.")


def parse_gpu_access(name: str, info: dict[str, Any], cdi_directories: Sequence[Path]) -> tuple[str, ...]:
    """The options that let a container have the GPU: NVIDIA's runtime where it is set up, else the device by CDI.

    Docker says itself whether it looks for CDI's files; Podman always does. Raises EngineInstallError without either.
    """
    if "nvidia" in (info.get("Runtimes") or {}):
        return _RUNTIME
    looks = name == "podman" or bool(info.get("CDISpecDirs"))
    if looks and any("nvidia" in path.name for directory in cdi_directories for path in _files(directory)):
        return _CDI
    way = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    if name == "docker":
        way = "nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    raise EngineInstallError(
        f"{name} has no way to let a container use the GPU.", f"Install nvidia-container-toolkit and run `sudo {way}`."
    )


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
