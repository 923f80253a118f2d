"""An engine's life in a container: a real process that speaks Docker's command line starts a real server."""

import asyncio
import dataclasses
import os
import time
from pathlib import Path

import pytest

from tests.rig.engine_settings import CONTEXT, TEXT, plan_with
from tests.rig.stand_ins import docker_stand_in
from vedette.deploy import deployment as deploy
from vedette.deploy import proposing
from vedette.device.boards import device_named
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine
from vedette.engine.hosts.container import ContainerHost
from vedette.engine.hosts.container_record import end_container
from vedette.engine.hosts.docker import find_container_engine
from vedette.engine.hosts.images import image_for_jetson
from vedette.engine.state import Life, Phase, State
from vedette.engine.vllm.flags import Target
from vedette.errors import EngineDiedError
from vedette.events import Event, PlanMade
from vedette.language.message import Message, say
from vedette.settings.home import Home
from vedette.settings.load import read_settings

IMAGE = image_for_jetson("36.4.3")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a stand-in for Docker that is the only container engine on PATH."""
    root, programs = tmp_path / "docker", tmp_path / "bin"
    docker_stand_in.install_docker(root, programs)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return root


async def ready_host(tmp_path: Path) -> tuple[ContainerHost, list[str]]:
    engine = await find_container_engine()
    host = ContainerHost(engine, IMAGE, tmp_path / "cache", tmp_path / "engine")
    steps: list[Message] = []
    await host.make_ready(steps.append)
    return host, [say(step) for step in steps]


async def launch(host: ContainerHost, tmp_path: Path) -> Engine:
    life = Life()
    life.enter(State.PREPARING)
    life.enter(State.STARTING, Phase.LAUNCHING)
    command = host.command(plan_with(TEXT), Target(tmp_path, "fake", None, cpu=False))
    client = EngineClient(command.workplace, "fake")
    return await Engine.launch(command, tmp_path / "engine.log", client, life)


@pytest.mark.parametrize("modes", ["", "deaf"])
async def test_an_engine_in_a_container_serves_and_stops_within_ten_seconds(
    docker: Path, tmp_path: Path, modes: str
) -> None:
    (docker / "modes").write_text(modes)
    host, _ = await ready_host(tmp_path)
    engine = await launch(host, tmp_path)
    await engine.wait_until_ready(CONTEXT)
    pid = int((docker / host.name).read_text())
    assert [process.pid for process in host.processes()] == [pid]
    began = time.monotonic()
    await host.end()
    await engine.stop()
    assert time.monotonic() - began < 10
    assert not docker_stand_in.alive(pid)
    assert host.processes() == []
    assert not (docker / host.name).exists()


async def test_a_container_killed_while_starting_has_a_cause(docker: Path, tmp_path: Path) -> None:
    (docker / "modes").write_text("killed")
    host, _ = await ready_host(tmp_path)
    engine = await launch(host, tmp_path)
    with pytest.raises(EngineDiedError) as caught:
        await engine.wait_until_ready(CONTEXT)
    await host.end()
    await engine.stop()
    assert caught.value.cause.code == "killed"  # not out of memory: the kernel counted no kill of its own


async def test_the_container_that_a_killed_vedette_left_is_found_and_removed(docker: Path, tmp_path: Path) -> None:
    host, _ = await ready_host(tmp_path)
    engine = await launch(host, tmp_path)
    await engine.wait_until_ready(CONTEXT)
    pid = int((docker / host.name).read_text())
    os.kill(engine.pid, 9)  # ends Docker's command but not the container
    assert await engine.wait_until_dead()
    assert docker_stand_in.alive(pid)
    await asyncio.to_thread(end_container, tmp_path / "engine")
    assert not docker_stand_in.alive(pid)
    await engine.stop()


async def test_a_board_serves_through_its_container(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = dataclasses.replace(device_named("orin-nx-16gb"), assumed=False)
    monkeypatch.setattr(proposing, "read_machine", lambda home: board)
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    for directory in (home.data, home.state, home.cache):
        directory.mkdir()
    settings = read_settings({"model": "vedette-tiny"}, {"HOME": str(tmp_path)})
    events: list[Event] = []
    deployment = deploy.Deployment(settings, home, "http://127.0.0.1:1", events.append)
    running = asyncio.create_task(deployment.run())
    async for status in deployment.life.watch():
        assert status.state is not State.FAILED, status
        if status.state is State.READY or running.done():
            break
    (plan,) = (event.plan for event in events if isinstance(event, PlanMade))
    assert plan["engine"]["kind"] == "container"
    assert plan["engine"]["version"] == "0.19.1"
    assert len(docker_stand_in.words_of(docker)) > 1
    running.cancel()
    await asyncio.wait({running})
    assert docker_stand_in.words_of(docker)[-1][:2] == ["rm", "-f"]
    assert [path.name for path in docker.glob("vedette-*")] == []
