"""Which host runs an engine: what the device is and what the setting `engine` says."""

import dataclasses
from pathlib import Path

import pytest

from tests.rig.stand_ins.engine_environment import make_environment
from vedette.deploy.hosting import host_for
from vedette.device.boards import device_named
from vedette.device.device import Device, Family
from vedette.engine.hosts.host import Host
from vedette.errors import ConfigError, EngineInstallError
from vedette.settings.home import Home
from vedette.settings.load import join_layers, parse_environment

ORIN = device_named("orin-nano-8gb")
THOR = device_named("agx-thor")
CPU = Device("a machine", Family.CPU, "x86_64", 8 << 30, 4 << 30, True, 2)
GPU = Device("a GPU", Family.NVIDIA, "x86_64", 24 << 30, 23 << 30, False, 8, driver_version="580.95.05")


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
        (THOR, "environment", "environment"),
        (GPU, "environment", "environment"),
        (dataclasses.replace(GPU, driver_version=None), "environment", "environment"),
        (dataclasses.replace(GPU, assumed=True), "auto", "container"),
    ],
)
async def test_a_host_by_device_and_setting(device: Device, engine: str, kind: str, tmp_path: Path) -> None:
    assert (await host_of(device, engine, tmp_path)).kind == kind
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "engine", "says"),
    [
        (CPU, "container", "no container image .* environment of its own"),
        (ORIN, "environment", r"CUDA 13, and Jetson Linux 36\.4\.3 is too old.*VEDETTE_ENGINE=container"),
        (dataclasses.replace(GPU, driver_version="570.86.10"), "environment", r"driver 570\.86\.10 is too old"),
        (ORIN, "enviroment", "enviroment is not an environment"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_next_step(
    device: Device, engine: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineInstallError, match=says):
        await host_of(device, engine, tmp_path)


async def test_a_gpu_gets_a_container_where_something_can_run_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert (await host_of(GPU, "auto", home)).kind == "environment"
    with pytest.raises(EngineInstallError, match="neither Docker nor Podman"):
        await host_of(GPU, "container", home)
    docker = programs / "docker"
    docker.write_text('#!/bin/sh\necho \'{"Runtimes": {"nvidia": {}}}\'\n')
    docker.chmod(0o755)
    assert (await host_of(GPU, "auto", home)).kind == "container"
    docker.write_text("#!/bin/sh\necho '{\"Runtimes\": {}}'\n")
    with pytest.raises(EngineInstallError, match="cannot give a container the GPU"):
        await host_of(GPU, "auto", home)


async def test_on_somebody_elses_server_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:8000 is a server that somebody else runs"):
        await host_of(CPU, "http://127.0.0.1:8000", tmp_path)


async def test_a_directory_must_hold_a_vllm_for_this_machine(tmp_path: Path) -> None:
    for_cpu = make_environment(tmp_path / "cpu", "0.32.0+cpu", "")
    for_gpu = make_environment(tmp_path / "gpu", "0.26.0", "")
    assert (await host_of(CPU, str(for_cpu), tmp_path)).version == "0.32.0+cpu"
    board = dataclasses.replace(ORIN, assumed=False)
    assert (await host_of(board, str(for_gpu), tmp_path)).version == "0.26.0"
    with pytest.raises(EngineInstallError, match="built for GPUs"):
        await host_of(CPU, str(for_gpu), tmp_path)
    with pytest.raises(EngineInstallError, match="built for CPUs"):
        await host_of(board, str(for_cpu), tmp_path)
