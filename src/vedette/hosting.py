"""Which host runs an engine on a device."""

from pathlib import Path

from vedette.config import Home, Settings
from vedette.device.facts import Device, Family
from vedette.engine import environment
from vedette.engine.container import ContainerHost
from vedette.engine.container_engine import ContainerEngine, find_container_engine
from vedette.engine.host import EnvironmentHost, Host
from vedette.engine.images import Image, image_for_gpu, image_for_jetson, image_named


async def host_for(device: Device, settings: Settings, home: Home, workplace: Path) -> Host:
    """The host for a device; nothing is installed, fetched or started yet.

    workplace: directory of the home that this engine alone runs in (`instance.slot`).
    For a board of the catalogue, away from it, a Docker as its JetPack brings it is assumed.
    Raises EngineInstallError where nothing can run an engine.
    """
    if device.family is Family.CPU:
        recipe = environment.CPU_RECIPE
        return EnvironmentHost(recipe, home.engines, settings.torch_index, home.cache, workplace)
    image = _image_for(device, settings)
    engine = ContainerEngine("docker") if device.assumed else await find_container_engine()
    return ContainerHost(engine, image, home.cache, workplace)


def _image_for(device: Device, settings: Settings) -> Image:
    if settings.image is not None:
        return image_named(settings.image)
    return image_for_jetson(device.l4t_version) if device.family is Family.JETSON else image_for_gpu()
