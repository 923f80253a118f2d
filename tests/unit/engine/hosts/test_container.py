"""The command lines of containers, whole; and what container engines and images say, read.

To write tests/unit/engine/hosts/containers/ anew after a change that is meant:
python -m tests.unit.engine.hosts.test_container
"""

import csv
import dataclasses
import io
import json
import os
from pathlib import Path

import pytest

from tests.rig.engine_settings import GPU, SEEING, TEXT, plan_with
from tests.rig.plans import proposal_of
from tests.rig.processes import run_vedette
from vedette.cli.print_command import shell_lines
from vedette.device.boards import boards, device_named
from vedette.engine.hosts.container import ContainerHost, _linked_directories, _mount
from vedette.engine.hosts.docker import ContainerEngine
from vedette.engine.hosts.images import (
    Fetched,
    Image,
    fetched_path,
    image_for_jetson,
    images,
    software_path,
    write_fetched,
)
from vedette.engine.vllm.causes import Death, find_cause
from vedette.engine.vllm.software import Software, write_software

GOLDEN = Path(__file__).with_name("containers")
SETTINGS = {"text": TEXT, "seeing": SEEING}


def written(board: str, kind: str) -> str:
    image = image_for_jetson(device_named(board).l4t_version)
    host = ContainerHost(ContainerEngine("docker"), image, Path("/cache"), Path("/home/engine"))
    return shell_lines(host.arguments(plan_with(SETTINGS[kind]), GPU), {}) + "\n"


@pytest.mark.parametrize("board", [name for name, board in boards().items() if board.l4t is not None])
@pytest.mark.parametrize("kind", SETTINGS)
def test_every_board_has_its_command_line(board: str, kind: str) -> None:
    assert written(board, kind) == (GOLDEN / f"{board}-{kind}.txt").read_text(encoding="utf-8")


def test_orin_with_the_newest_jetpack_has_an_image_of_its_own() -> None:
    orin, thor = image_for_jetson("39.2.1", "sm_87"), image_for_jetson("39.2.1", "sm_110")
    assert orin.pinned.startswith("ghcr.io/nvidia-ai-iot/vllm@sha256:817f0f94")
    assert thor.reference.startswith("docker.io/vllm/vllm-openai:")


def test_a_limit_of_memory_is_set_only_beside_a_gpu_with_memory_of_its_own() -> None:
    plan = plan_with(TEXT)
    host = ContainerHost(ContainerEngine("docker"), images()[-1], Path("/cache"), Path("/home/engine"))
    assert "--memory" not in host.arguments(plan, GPU)
    beside = dataclasses.replace(plan, memory=dataclasses.replace(plan.memory, host_available_bytes=9_000))
    words = host.arguments(beside, GPU)
    assert words[words.index("--memory") + 1] == "9000"


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("image", [images()[0], images()[-1]], ids=["jetson", "gpu"])
def test_vedette_reaches_the_engine_through_a_socket_in_the_working_directory(
    user: int, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    host = ContainerHost(ContainerEngine("docker"), image, Path("/cache"), Path("/home/engine"))
    words = host.arguments(plan_with(TEXT), dataclasses.replace(GPU, port=None))
    assert "--port" not in words
    assert words[words.index("--workdir") + 1] == "/run/vedette"
    assert "type=bind,source=/home/engine,target=/run/vedette" in words
    assert words[words.index("--uds") + 1] == "engine.sock"
    # Made by root in the container, the socket of another user must be open for writing.
    assert ('umask 0; exec "$@"' in words) == (user != 0)
    inside = words[words.index(host.image) + 1 :]
    program = ("vllm",) if image.entrypoint is None else ()
    assert "serve" in inside
    assert user != 0 or inside[: len(program) + 1] == (*program, "serve")


def test_links_out_of_a_model_are_followed(tmp_path: Path) -> None:
    blobs, model = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    model.mkdir()
    (blobs / "1").touch()
    (model / "config.json").symlink_to("../blobs/1")
    host = ContainerHost(ContainerEngine("docker"), images()[0], tmp_path / "cache", tmp_path / "engine")
    words = host.arguments(plan_with(TEXT), dataclasses.replace(GPU, model_path=model))
    assert f"type=bind,source={blobs},target={blobs},readonly" in words


@pytest.mark.parametrize(
    "said",
    [
        "docker: Error response from daemon: unknown or invalid runtime name: nvidia.",
        "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please update your driver",
    ],
)
def test_a_container_without_a_gpu_is_a_cause(said: str) -> None:
    cause = find_cause(Death(125, (said,)))
    assert cause.code == "container_gpu"
    assert "nvidia-container-toolkit" in cause.hint


def test_print_shows_what_a_board_would_run(tmp_path: Path) -> None:
    asked = ("up", "--print", "--device", "orin-nx-16gb", "ernie-4.5-0.3b")
    shown = run_vedette(tmp_path, *asked)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("docker run \\\n  --name vedette-")
    found = json.loads(run_vedette(tmp_path, *asked, "--json").stdout)
    assert (found["kind"], found["env"]) == ("container", {})
    assert found["argv"][found["argv"].index("vllm") + 1] == "serve"


def test_a_plan_is_for_the_vllm_of_the_board_s_image() -> None:
    engine = proposal_of("cosmos-reason2-2b", "orin-nx-16gb").as_json()["engine"]
    assert (engine["kind"], engine["version"]) == ("container", "0.11.2")
    assert engine["image"] == "ghcr.io/nvidia-ai-iot/vllm:r36.4-tegra-aarch64-cu126-22.04"
    assert "--default-chat-template-kwargs" not in engine["argv"]
    thor = proposal_of("cosmos-reason2-2b", "agx-thor").as_json()["engine"]
    assert thor["version"] == "0.15.1"
    assert "--default-chat-template-kwargs" in thor["argv"]


def test_a_plan_uses_the_recorded_version_of_an_image(tmp_path: Path) -> None:
    image, digest = image_for_jetson("36.4.3"), "sha256:" + "5e" * 32
    write_fetched(tmp_path, Fetched(image.reference, "sha256:1d", digest))
    write_software(software_path(tmp_path, "sha256:1d"), Software("0.19.1", frozenset({"--port"})))
    host = ContainerHost(ContainerEngine("docker"), image, tmp_path, tmp_path / "engine")
    assert (host.version, host.image) == ("0.19.1", f"ghcr.io/nvidia-ai-iot/vllm@{digest}")
    fetched_path(tmp_path, image.reference).write_text("{")
    assert ContainerHost(ContainerEngine("docker"), image, tmp_path, tmp_path / "engine").version == image.vllm


def test_print_shows_this_machine_s_command_with_its_variables(tmp_path: Path) -> None:
    shown = run_vedette(tmp_path, "up", "--print", "vedette-tiny")
    assert shown.returncode == 0, shown.stderr
    assert "HF_HUB_OFFLINE=1 \\\n" in shown.stdout
    assert " serve " in shown.stdout


def test_what_does_not_fit_is_not_printed(tmp_path: Path) -> None:
    refused = run_vedette(tmp_path, "up", "--print", "--device", "orin-nano-4gb", "Qwen2-7B-Instruct")
    assert refused.returncode == 1
    assert "does not fit" in refused.stderr


if __name__ == "__main__":
    for board in (name for name, board in boards().items() if board.l4t is not None):
        for kind in SETTINGS:
            (GOLDEN / f"{board}-{kind}.txt").write_text(written(board, kind), encoding="utf-8")


@pytest.mark.parametrize("name", ["a,readonly=false", 'a"b', "a\nb", "a:b", "a b", "--privileged"])
def test_a_path_is_one_field_of_a_mount_whatever_its_name(tmp_path: Path, name: str) -> None:
    """Docker reads the option's value as a line of CSV."""
    model = tmp_path / name
    (model / "blobs").mkdir(parents=True)
    (fields,) = csv.reader(io.StringIO(_mount(model, "readonly"), newline=""))
    assert fields == ["type=bind", f"source={model}", f"target={model}", "readonly"]


def test_only_files_are_followed_out_of_a_model(tmp_path: Path) -> None:
    model, cache = tmp_path / "model", tmp_path / "cache"
    model.mkdir()
    cache.mkdir()
    (cache / "weights").touch()
    for name, target in {"weights": str(cache / "weights"), "all": "/", "loop": "loop", "etc": "/etc"}.items():
        (model / name).symlink_to(target)
    assert _linked_directories(model) == [cache]
