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
    """The host for a device; nothing is installed, downloaded or started yet.

    workplace: directory of the home that this engine alone runs in (`Home.slot`).
    only_looks: nothing will be run, so a container engine need not be here. Then, and for a board of the catalogue, the
    Docker of JetPack is assumed.
    Raises EngineInstallError where nothing can run an engine, or not what the setting `engine` names.
    """
    engine = settings.engine
    if is_address(engine):
        raise ConfigError("deploy.no_plan_for_server", server=engine)
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
    """Jetson boards use a container, for which their vLLM is built; other GPUs do if a container engine is here."""
    if device.family is Family.NVIDIA:
        return not device.assumed and not is_container_engine_installed()
    return device.family is Family.CPU


def _recipe_for(device: Device) -> Recipe:
    """The engine to install. Raises EngineInstallError where none would run."""
    if device.family is Family.CPU:
        return CPU_RECIPE
    if _is_older(device.l4t_version, GPU_JETSON_LINUX):
        raise EngineInstallError("deploy.jetson_linux_too_old", version=device.l4t_version, driver=str(GPU_DRIVER))
    if _is_older(device.driver_version, GPU_DRIVER):
        raise EngineInstallError("deploy.driver_too_old", version=device.driver_version, driver=str(GPU_DRIVER))
    return GPU_RECIPE


def _is_older(version: str | None, first: int) -> bool:
    """Compares the first number; False for an unknown version."""
    number = re.match(r"\d+", version or "")
    return number is not None and int(number[0]) < first


def _check_build(version: str, device: Device, python: Path) -> None:
    """Raises EngineInstallError for a vLLM that was built for other hardware: its version tells (vllm/platforms)."""
    for_cpu = "cpu" in version
    if for_cpu and device.family is not Family.CPU:
        raise EngineInstallError("deploy.built_for_cpu", python=str(python), version=version)
    if not for_cpu and device.family is Family.CPU:
        raise EngineInstallError("deploy.built_for_gpu", python=str(python), version=version)


def _image_for(device: Device, settings: Settings) -> Image:
    if settings.image is not None:
        return image_named(settings.image)
    if device.family is Family.CPU:
        raise EngineInstallError("deploy.no_cpu_image")
    if device.family is not Family.JETSON:
        return image_for_gpu()
    capability = device.compute_capability
    return image_for_jetson(device.l4t_version, f"sm_{capability[0]}{capability[1]}" if capability else None)
