"""Which host runs an engine: what the device is and what the setting `engine` says."""

import dataclasses
from pathlib import Path

import pytest

from tests.unit.test_engine_adopted import environment_with
from vedette.config import Home, join_layers, parse_environment
from vedette.device.catalogue import device_named
from vedette.device.facts import Device, Family
from vedette.engine.host import Host
from vedette.errors import ConfigError, EngineInstallError
from vedette.hosting import host_for

ORIN = device_named("orin-nano-8gb")
CPU = Device("a machine", Family.CPU, "x86_64", 8 << 30, 4 << 30, True, 2)


async def host_of(device: Device, engine: str, root: Path) -> Host:
    settings = join_layers({"environment": parse_environment({"VEDETTE_ENGINE": engine})})
    return await host_for(device, settings, Home(root / "data", root / "state", root / "cache"), root / "workplace")


@pytest.mark.parametrize(
    ("device", "engine", "kind"),
    [
        (CPU, "auto", "environment"),
        (CPU, "environment", "environment"),
        (ORIN, "auto", "container"),
        (ORIN, "container", "container"),
    ],
)
async def test_a_host_by_device_and_setting(device: Device, engine: str, kind: str, tmp_path: Path) -> None:
    assert (await host_of(device, engine, tmp_path)).kind == kind
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "engine", "says"),
    [
        (CPU, "container", "no container image .* environment of its own"),
        (ORIN, "environment", "no recipe .* container"),
        (ORIN, "enviroment", "no environment in .*enviroment"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_next_step(
    device: Device, engine: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineInstallError, match=says):
        await host_of(device, engine, tmp_path)


async def test_on_somebody_elses_server_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:8000 is a server that somebody else runs"):
        await host_of(CPU, "http://127.0.0.1:8000", tmp_path)


async def test_a_directory_must_hold_a_vllm_for_this_machine(tmp_path: Path) -> None:
    for_cpu = environment_with(tmp_path / "cpu", "0.32.0+cpu", "")
    for_gpu = environment_with(tmp_path / "gpu", "0.26.0", "")
    assert (await host_of(CPU, str(for_cpu), tmp_path)).version == "0.32.0+cpu"
    board = dataclasses.replace(ORIN, assumed=False)
    assert (await host_of(board, str(for_gpu), tmp_path)).version == "0.26.0"
    with pytest.raises(EngineInstallError, match="built for GPUs"):
        await host_of(CPU, str(for_gpu), tmp_path)
    with pytest.raises(EngineInstallError, match="built for CPUs"):
        await host_of(board, str(for_cpu), tmp_path)
