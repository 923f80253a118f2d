"""Which host runs an engine on a device."""

import re
from pathlib import Path

from vedette.device.device import Device, Family
from vedette.engine.hosts.adopted import adopt
from vedette.engine.hosts.container import ContainerHost
from vedette.engine.hosts.docker import ContainerEngine, find_container_engine, is_container_engine_installed
from vedette.engine.hosts.host import Host
from vedette.engine.hosts.images import Image, image_for_gpu, image_for_jetson, image_named
from vedette.engine.hosts.managed import ManagedHost
from vedette.engine.hosts.recipes import CPU_RECIPE, GPU_DRIVER, GPU_JETSON_LINUX, GPU_RECIPE, Recipe
from vedette.errors import ConfigError, EngineInstallError
from vedette.settings.home import Home
from vedette.settings.table import Settings


async def host_for(device: Device, settings: Settings, home: Home, workplace: Path, only_looks: bool = False) -> Host:
    """The host for a device; nothing is installed, fetched or started yet.

    workplace: directory of the home that this engine alone runs in (`Home.slot`).
    only_looks: nothing is to be run, so that it does not matter whether a container engine is here. For that, and for
    a board of the catalogue away from it, a Docker as JetPack brings it is assumed.
    Raises EngineInstallError where nothing can run an engine, or not what the setting `engine` names.
    """
    engine = settings.engine
    if is_address(engine):
        raise ConfigError(
            f"{engine} is a server that somebody else runs: vedette starts no engine there.",
            "Leave VEDETTE_ENGINE out, or name what is to run the engine: environment, container or a directory.",
        )
    if engine not in ("auto", "environment", "container"):
        adopted = await adopt(Path(engine), home.cache, workplace)
        _check_build(adopted.version, device, adopted.python)
        return adopted
    if engine == "environment" or (engine == "auto" and _belongs_in_environment(device)):
        return ManagedHost(_recipe_for(device), home.engines, settings.torch_index, home.cache, workplace)
    image = _image_for(device, settings)
    needs_gpu = device.family is not Family.CPU
    assumed = only_looks or device.assumed
    program = ContainerEngine("docker") if assumed else await find_container_engine(needs_gpu)
    return ContainerHost(program, image, home.cache, workplace)


def is_address(engine: str) -> bool:
    """Whether the setting `engine` names a server that somebody else runs."""
    return engine.startswith(("http://", "https://"))


def _belongs_in_environment(device: Device) -> bool:
    """Jetson boards get a container, for which their vLLM is made; other GPUs where there is something to run one."""
    if device.family is Family.NVIDIA:
        return not device.assumed and not is_container_engine_installed()
    return device.family is Family.CPU


def _recipe_for(device: Device) -> Recipe:
    """Raises EngineInstallError where no recipe's engine would run."""
    if device.family is Family.CPU:
        return CPU_RECIPE
    has = None
    if _is_older(device.l4t_version, GPU_JETSON_LINUX):
        has = f"Jetson Linux {device.l4t_version}"
    elif _is_older(device.driver_version, GPU_DRIVER):
        has = f"NVIDIA's driver {device.driver_version}"
    if has is not None:
        raise EngineInstallError(
            f"vLLM's own wheels are built for CUDA 13, for which {has} is too old.",
            f"Update it (driver {GPU_DRIVER} or newer), run the engine in a container "
            "(VEDETTE_ENGINE=container), or name a directory with an older vLLM of yours.",
        )
    return GPU_RECIPE


def _is_older(version: str | None, first: int) -> bool:
    """By its first number; False of what is not known."""
    number = re.match(r"\d+", version or "")
    return number is not None and int(number[0]) < first


def _check_build(version: str, device: Device, python: Path) -> None:
    """vLLM runs on what it was built for; its version tells (vllm/platforms). Raises EngineInstallError."""
    for_cpu = "cpu" in version
    if for_cpu and device.family is not Family.CPU:
        raise EngineInstallError(
            f"The vLLM of {python} ({version}) is built for CPUs, and this machine has an NVIDIA GPU.",
            "Name an environment with a vLLM for GPUs (VEDETTE_ENGINE), or leave it out.",
        )
    if not for_cpu and device.family is Family.CPU:
        raise EngineInstallError(
            f"The vLLM of {python} ({version}) is built for GPUs, and vedette finds none here.",
            "Name an environment with a vLLM for CPUs (VEDETTE_ENGINE), or leave it out.",
        )


def _image_for(device: Device, settings: Settings) -> Image:
    if settings.image is not None:
        return image_named(settings.image)
    if device.family is Family.CPU:
        raise EngineInstallError(
            "vedette knows no container image with vLLM for a machine without an NVIDIA GPU.",
            "Name one (VEDETTE_IMAGE), or leave VEDETTE_ENGINE out: the engine gets an environment of its own.",
        )
    return image_for_jetson(device.l4t_version) if device.family is Family.JETSON else image_for_gpu()
