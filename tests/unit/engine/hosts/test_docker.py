"""Docker's and Podman's own words: whether they work, and how a container gets the GPU."""

import json
from pathlib import Path

import pytest

from vedette.engine.hosts.docker import parse_gpu_access, parse_info
from vedette.errors import EngineInstallError


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


def test_what_a_container_engine_says_of_itself_is_read_among_its_warnings() -> None:
    said = 'WARNING: no swap limit\n{\n  "host": {\n    "arch": "arm64"\n  }\n}\nWARNING: no more\n'
    assert parse_info("podman", 0, said) == {"host": {"arch": "arm64"}}
