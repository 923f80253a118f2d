"""Docker's and Podman's own words: whether they work, and how a container gets the GPU."""

import json
from pathlib import Path

import pytest

from vedette.engine.hosts.docker import (
    ContainerEngine,
    find_container_engine,
    is_container_engine_installed,
    parse_gpu_access,
    parse_info,
)
from vedette.errors import EngineInstallError
from vedette.language.message import Message


def test_the_gpu_is_reached_by_runtime_or_by_cdi(tmp_path: Path) -> None:
    assert parse_gpu_access("docker", {"Runtimes": {"nvidia": {}}}, ())[0] == "--runtime"
    for name, info in (("docker", {"CDISpecDirs": ["/etc/cdi"]}), ("podman", {})):
        with pytest.raises(EngineInstallError, match="container the GPU"):
            parse_gpu_access(name, info, (tmp_path / "missing", tmp_path))
    (tmp_path / "nvidia.yaml").touch()
    assert parse_gpu_access("podman", {}, (tmp_path,)) == ("--device", "nvidia.com/gpu=all")
    assert parse_gpu_access("docker", {"CDISpecDirs": ["/etc/cdi"]}, (tmp_path,))[0] == "--device"
    with pytest.raises(EngineInstallError, match="container the GPU"):
        parse_gpu_access("docker", {}, (tmp_path,))


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        ("permission denied while trying to connect to the Docker daemon socket", "usermod"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "systemctl start"),
        ("the disk melted", "info"),
    ],
)
def test_a_container_engine_that_does_not_answer_is_refused_with_the_next_step(error: str, next_step: str) -> None:
    with pytest.raises(EngineInstallError) as caught:  # Docker 28 ends well and says so inside
        parse_info("docker", 0, json.dumps({"ID": "", "ServerErrors": [error]}))
    assert next_step in caught.value.hint
    with pytest.raises(EngineInstallError) as caught:
        parse_info("docker", 1, error)
    assert next_step in caught.value.hint


def test_info_is_read_among_warnings() -> None:
    said = 'WARNING: no swap limit\n{\n  "host": {\n    "arch": "arm64"\n  }\n}\nWARNING: no more\n'
    assert parse_info("podman", 0, said) == {"host": {"arch": "arm64"}}


def test_a_failure_without_a_message_is_refused() -> None:
    for status, output in ((1, ""), (1, " \n"), (0, "")):
        with pytest.raises(EngineInstallError) as caught:
            parse_info("docker", status, output)
        assert caught.value.message == Message("engine.container_engine_silent", name="docker")


def test_a_failure_is_explained_by_its_last_line() -> None:
    for status, output in ((1, "first\nlast\n"), (0, json.dumps({"ServerErrors": ["first", "last"]})), (0, "last")):
        with pytest.raises(EngineInstallError) as caught:
            parse_info("docker", status, output)
        assert caught.value.message == Message("engine.container_engine_broken", name="docker", error="last")


def test_a_failed_command_is_no_success_whatever_it_prints() -> None:
    with pytest.raises(EngineInstallError) as caught:
        parse_info("docker", 1, '{"Runtimes": {"nvidia": {}}}')
    assert caught.value.message.code == "engine.container_engine_broken"


def program(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


async def test_the_first_program_that_works_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_container_engine_installed()
    with pytest.raises(EngineInstallError) as caught:
        await find_container_engine(cdi_directories=())
    assert caught.value.message == Message("engine.no_container_engine")

    program(tmp_path, "podman", "echo '{}'")
    assert is_container_engine_installed()
    with pytest.raises(EngineInstallError) as caught:  # an empty document describes no container engine
        await find_container_engine(needs_gpu=False)
    program(tmp_path, "podman", """echo '{"host": {}}'""")
    assert await find_container_engine(needs_gpu=False) == ContainerEngine(str(tmp_path / "podman"), ())
    with pytest.raises(EngineInstallError) as caught:
        await find_container_engine(cdi_directories=(tmp_path,))
    assert caught.value.message == Message("engine.podman_without_gpu")
    (tmp_path / "nvidia.yaml").touch()

    program(tmp_path, "docker", "echo permission denied; exit 1")
    found = await find_container_engine(cdi_directories=(tmp_path,))
    assert found == ContainerEngine(str(tmp_path / "podman"), ("--device", "nvidia.com/gpu=all"))
    with pytest.raises(EngineInstallError) as caught:  # the problem of the first
        await find_container_engine(cdi_directories=())
    assert caught.value.message == Message("engine.container_engine_forbidden", name="docker")

    program(tmp_path, "docker", """echo '{"Runtimes": {"nvidia": {}}}'""")
    found = await find_container_engine(cdi_directories=())
    assert (found.program, found.gpu[:2]) == (str(tmp_path / "docker"), ("--runtime", "nvidia"))


async def test_a_command_gives_its_status_and_all_its_output(tmp_path: Path) -> None:
    program(tmp_path, "docker", 'echo "$@"; echo error >&2; exit 3')
    assert await ContainerEngine(str(tmp_path / "docker")).run("rm", "a") == (3, "rm a\nerror\n")
    program(tmp_path, "docker", "exit 0")
    assert await ContainerEngine(str(tmp_path / "docker")).run() == (0, "")
