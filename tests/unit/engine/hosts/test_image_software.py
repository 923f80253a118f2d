"""An image is pulled once and asked once for its vLLM, by a real process that speaks Docker's command line."""

from pathlib import Path

import pytest

from tests.rig.engine_settings import TEXT, plan_with
from tests.rig.stand_ins import docker_stand_in
from tests.rig.stand_ins.docker_stand_in import FIRST, SECOND, words_of
from vedette.engine.hosts.container import ContainerHost
from vedette.engine.hosts.container_record import end_container
from vedette.engine.hosts.docker import ContainerEngine
from vedette.engine.hosts.images import image_for_jetson
from vedette.engine.vllm.flags import Target
from vedette.errors import EngineInstallError
from vedette.language.message import Message

pytestmark = pytest.mark.processes


IMAGE = image_for_jetson("36.4.3")
REPOSITORY = "ghcr.io/nvidia-ai-iot/vllm"
READING = Message("engine.reading_image")


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """The directory of a stand-in for Docker."""
    docker_stand_in.install_docker(tmp_path / "docker", tmp_path / "bin")
    return tmp_path / "docker"


async def ready_host(tmp_path: Path) -> tuple[ContainerHost, list[Message]]:
    host = ContainerHost(
        ContainerEngine(str(tmp_path / "bin" / "docker")), IMAGE, tmp_path / "cache", tmp_path / "engine"
    )
    steps: list[Message] = []
    await host.make_ready(steps.append)
    return host, steps


async def test_an_image_is_pulled_with_progress_and_asked_once(docker: Path, tmp_path: Path) -> None:
    host, steps = await ready_host(tmp_path)
    assert steps[:2] == [
        Message("engine.fetching_image", image=IMAGE.reference),
        Message("engine.fetching_layers", done=0, total=1),
    ]
    assert steps[-2:] == [Message("engine.fetching_layers", done=3, total=3), READING]
    assert host.version == "0.19.1"
    again, steps = await ready_host(tmp_path)
    assert again.version == "0.19.1"
    assert steps == []
    assert sum(words[0] == "pull" for words in words_of(docker)) == 1
    assert sum(words[-1] == "--version" for words in words_of(docker)) == 1
    unprepared = ContainerHost(ContainerEngine("docker"), IMAGE, tmp_path / "cache", tmp_path / "engine")
    assert unprepared.version == "0.19.1"


async def test_a_container_that_was_left_behind_is_removed_and_the_next_one_recorded(
    docker: Path, tmp_path: Path
) -> None:
    host, _ = await ready_host(tmp_path)
    assert ["rm", "-f", host.name] in words_of(docker)
    end_container(tmp_path / "engine")
    assert ["stop", "-t", "4", host.name] in words_of(docker)


async def test_an_image_stays_the_one_that_ran_here_until_it_is_fetched_again(docker: Path, tmp_path: Path) -> None:
    host, _ = await ready_host(tmp_path)
    assert host.image == f"{REPOSITORY}@{FIRST}"
    assert host.image in host.command(plan_with(TEXT), Target(tmp_path, "fake", 1, cpu=False)).arguments
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"images", "vllm", "inductor", "triton"}
    (docker / "published").write_text(SECOND)
    (docker / "tagged").unlink()
    (docker / FIRST).unlink()
    host, _ = await ready_host(tmp_path)
    assert ["pull", f"{REPOSITORY}@{FIRST}"] in words_of(docker)
    assert host.image == f"{REPOSITORY}@{FIRST}"
    await ContainerEngine(str(tmp_path / "bin" / "docker")).run("pull", IMAGE.reference)  # as a person would
    host, steps = await ready_host(tmp_path)
    assert steps == [Message("engine.image_changed", image=IMAGE.reference), READING]
    assert host.image == f"{REPOSITORY}@{SECOND}"


async def test_an_image_that_cannot_be_pulled_is_refused(docker: Path, tmp_path: Path) -> None:
    (docker / "offline").touch()
    with pytest.raises(EngineInstallError) as caught:
        await ready_host(tmp_path)
    assert caught.value.message == Message("engine.image_unreachable", image=IMAGE.reference)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("first\nno space\n\n", Message("engine.image_failed", image=IMAGE.reference, error="no space")),
        ("", Message("engine.image_failed_silently", image=IMAGE.reference)),
    ],
)
async def test_an_image_that_does_not_run_is_refused_with_its_last_line(
    docker: Path, tmp_path: Path, output: str, message: Message
) -> None:
    (docker / "broken").write_text(output)
    with pytest.raises(EngineInstallError) as caught:
        await ready_host(tmp_path)
    assert caught.value.message == message
    (docker / "broken").unlink()
    assert READING in (await ready_host(tmp_path))[1]  # nothing was recorded of the broken image


async def test_an_image_without_a_version_is_refused(docker: Path, tmp_path: Path) -> None:
    (docker / "version").write_text("no version here")
    with pytest.raises(EngineInstallError) as caught:
        await ready_host(tmp_path)
    assert caught.value.message == Message("engine.image_without_version", image=IMAGE.reference)
