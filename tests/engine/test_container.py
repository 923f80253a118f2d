"""An engine's life in a container: a real process that speaks Docker's command line starts a real server."""

import asyncio
import dataclasses
import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from tests.rig import docker_stand_in
from tests.rig.engine_settings import CONTEXT, TEXT, VLLM_HELP, plan_with
from vedette.deploy import deployment as deploy
from vedette.deploy import planner
from vedette.device.boards import device_named
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine, free_port
from vedette.engine.hosts.container import ContainerHost
from vedette.engine.hosts.container_record import end_container
from vedette.engine.hosts.docker import find_container_engine
from vedette.engine.hosts.images import image_for_jetson
from vedette.engine.state import Life, Phase, State
from vedette.engine.vllm.flags import Target
from vedette.errors import EngineDiedError, EngineInstallError
from vedette.events import Event, PlanMade
from vedette.language.message import Message, say
from vedette.settings.home import Home
from vedette.settings.load import read_settings

IMAGE = image_for_jetson("36.4.3")
REPOSITORY = "ghcr.io/nvidia-ai-iot/vllm"
FIRST, SECOND = "sha256:" + "5e" * 32, "sha256:" + "6f" * 32


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a stand-in for Docker that is the only container engine on PATH."""
    root, programs = tmp_path / "docker", tmp_path / "bin"
    root.mkdir()
    programs.mkdir()
    (root / "modes").write_text("")
    (root / "help").write_text(VLLM_HELP)
    (root / "published").write_text(FIRST)
    program = programs / "docker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{docker_stand_in.__file__}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_DOCKER", str(root))
    return root


async def ready_host(tmp_path: Path) -> tuple[ContainerHost, list[str]]:
    engine = await find_container_engine()
    host = ContainerHost(engine, IMAGE, tmp_path / "cache", tmp_path / "engine")
    steps: list[Message] = []
    await host.make_ready(steps.append)
    return host, [say(step) for step in steps]


async def launch(host: ContainerHost, tmp_path: Path) -> Engine:
    port, life = free_port(), Life()
    life.enter(State.PREPARING)
    life.enter(State.STARTING, Phase.LAUNCHING)
    command = host.command(plan_with(TEXT), Target(tmp_path, "fake", port, cpu=False))
    client = EngineClient(f"http://127.0.0.1:{port}", "fake")
    return await Engine.launch(command, tmp_path / "engine.log", client, life)


def asked(docker: Path) -> list[list[str]]:
    return [json.loads(line) for line in (docker / "said").read_text().splitlines()]


async def test_an_image_is_fetched_with_progress_and_asked_once(docker: Path, tmp_path: Path) -> None:
    host, steps = await ready_host(tmp_path)
    assert "fetching the image: 0 of 3 layers" in steps
    assert "fetching the image: 3 of 3 layers" in steps
    assert host.version == "0.19.1"
    again, steps = await ready_host(tmp_path)
    assert again.version == "0.19.1"
    assert steps == []
    assert sum(words[0] == "pull" for words in asked(docker)) == 1
    assert sum(words[-1] == "--version" for words in asked(docker)) == 1
    assert ContainerHost(again._engine, IMAGE, tmp_path / "cache", tmp_path / "engine").version == "0.19.1"


async def test_an_image_stays_the_one_that_ran_here_until_it_is_fetched_anew(docker: Path, tmp_path: Path) -> None:
    host, _ = await ready_host(tmp_path)
    assert host.image == f"{REPOSITORY}@{FIRST}"
    assert host.image in host.command(plan_with(TEXT), Target(tmp_path, "fake", 1, cpu=False)).arguments
    (docker / "published").write_text(SECOND)
    (docker / "tagged").unlink()
    (docker / FIRST).unlink()
    host, _ = await ready_host(tmp_path)
    assert ["pull", f"{REPOSITORY}@{FIRST}"] in asked(docker)
    assert host.image == f"{REPOSITORY}@{FIRST}"
    await host._engine.run("pull", IMAGE.reference)  # as a person would
    host, steps = await ready_host(tmp_path)
    assert f"{IMAGE.reference} has been fetched again and is another image than before" in steps
    assert host.image == f"{REPOSITORY}@{SECOND}"
    assert "reading version and options of the image's vLLM" in steps


async def test_an_image_that_cannot_be_fetched_is_refused(docker: Path, tmp_path: Path) -> None:
    (docker / "offline").touch()
    with pytest.raises(EngineInstallError, match="registry is not reachable"):
        await ready_host(tmp_path)


@pytest.mark.parametrize("modes", ["", "deaf"])
async def test_it_serves_and_stops_within_ten_seconds(docker: Path, tmp_path: Path, modes: str) -> None:
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
    assert caught.value.cause.code == "killed"  # the kernel counts its own kills, and it did not do it


async def test_what_a_killed_vedette_left_is_found_and_removed(docker: Path, tmp_path: Path) -> None:
    host, _ = await ready_host(tmp_path)
    engine = await launch(host, tmp_path)
    await engine.wait_until_ready(CONTEXT)
    pid = int((docker / host.name).read_text())
    os.kill(engine.pid, 9)  # Docker's command is gone, the container is not
    assert await engine.wait_until_dead()
    assert docker_stand_in.alive(pid)
    await asyncio.to_thread(end_container, tmp_path / "engine")
    assert not docker_stand_in.alive(pid)
    await engine.stop()


async def test_a_board_serves_through_its_container(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = dataclasses.replace(device_named("orin-nx-16gb"), assumed=False)
    monkeypatch.setattr(planner, "read_machine", lambda home: board)
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    for directory in (home.data, home.state, home.cache):
        directory.mkdir()
    settings = read_settings({"model": "vedette-tiny"}, {"HOME": str(tmp_path)})
    told: list[Event] = []
    deployment = deploy.Deployment(settings, home, "http://127.0.0.1:1", told.append)
    running = asyncio.create_task(deployment.run())
    async for status in deployment.life.watch():
        assert status.state is not State.FAILED, status
        if status.state is State.READY or running.done():
            break
    (plan,) = (event.plan for event in told if isinstance(event, PlanMade))
    assert plan["engine"]["kind"] == "container"
    assert plan["engine"]["version"] == "0.19.1"
    assert len(asked(docker)) > 1
    running.cancel()
    await asyncio.wait({running})
    assert asked(docker)[-1][:2] == ["rm", "-f"]
    assert [path.name for path in docker.glob("vedette-*")] == []
