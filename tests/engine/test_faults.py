"""Faults that real vLLM does not show on demand, shown by a real process that stands in for it."""

import asyncio
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.rig.engine_settings import CONTEXT
from tests.rig.stand_ins.engine_environment import ENGINE_STAND_IN
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine
from vedette.engine.process.process_command import SOCKET, Command
from vedette.engine.process.workplace import find_processes, make_workplace
from vedette.engine.state import Life, Phase, State
from vedette.errors import EngineDiedError
from vedette.plan.deadlines import Patience, StartLimits


async def launch(tmp_path: Path, *modes: str) -> tuple[Engine, Life]:
    life = Life()
    life.enter(State.PREPARING)
    life.enter(State.STARTING, Phase.LAUNCHING)
    command = Command(
        (sys.executable, str(ENGINE_STAND_IN), SOCKET, *modes), {"PATH": "/usr/bin:/bin"}, tmp_path / "engine"
    )
    make_workplace(command.workplace)
    client = EngineClient(command.workplace, "fake")
    return await Engine.launch(command, tmp_path / "engine.log", client, life), life


async def test_a_slow_start_is_waited_for_and_its_phases_are_seen(tmp_path: Path) -> None:
    engine, life = await launch(tmp_path, "slow")
    seen: list[tuple[Phase | None, int | None]] = []

    async def watch() -> None:
        async for status in life.watch():
            seen.append((status.phase, status.done))

    watching = asyncio.create_task(watch())
    try:
        await engine.wait_until_ready(CONTEXT)
    finally:
        await engine.stop()
        watching.cancel()
    phases = [phase for phase, _ in seen]
    assert phases.index(Phase.LOADING) < phases.index(Phase.WARMING)
    assert (Phase.LOADING, 1) in seen
    assert "Application startup complete" in (tmp_path / "engine.log").read_text()


@pytest.mark.parametrize(
    ("mode", "code"),
    [("die-loading", "engine_error"), ("out-of-memory", "out_of_memory"), ("killed", "killed")],
)
async def test_a_crash_while_starting_has_a_cause(tmp_path: Path, mode: str, code: str) -> None:
    engine, _ = await launch(tmp_path, mode)
    try:
        with pytest.raises(EngineDiedError) as caught:
            await engine.wait_until_ready(CONTEXT)
    finally:
        await engine.stop()
    assert caught.value.cause.code == code


async def test_an_engine_that_ignores_sigterm_ends_within_ten_seconds_with_its_orphans(tmp_path: Path) -> None:
    engine, _ = await launch(tmp_path, "deaf", "orphan")
    await engine.wait_until_ready(CONTEXT)
    assert len(find_processes(tmp_path / "engine")) == 2
    with socket.socket(socket.AF_UNIX) as left:  # vLLM leaves its sockets when it is killed
        left.bind(str(tmp_path / "engine" / "tmp" / "s"))
    began = time.monotonic()
    await engine.stop()
    assert time.monotonic() - began < 10
    assert find_processes(tmp_path / "engine") == []
    assert list((tmp_path / "engine").iterdir()) == []


async def test_an_endless_log_line_does_not_fill_the_log(tmp_path: Path) -> None:
    engine, _ = await launch(tmp_path, "endless-line")
    try:
        await engine.wait_until_ready(CONTEXT)
    finally:
        await engine.stop()
    assert (tmp_path / "engine.log").stat().st_size < 200_000


async def test_a_crash_while_serving_is_reported(tmp_path: Path) -> None:
    engine, _ = await launch(tmp_path)
    await engine.wait_until_ready(CONTEXT)
    dying = asyncio.create_task(engine.wait_until_dead())
    await asyncio.sleep(0)
    for process in find_processes(tmp_path / "engine"):
        process.kill()
    cause = await asyncio.wait_for(dying, 5)
    await engine.stop()
    assert cause.code == "killed"  # not out of memory: the kernel counted no kill of its own


async def test_an_engine_that_accepts_requests_but_answers_none_counts_as_stuck(tmp_path: Path) -> None:
    engine, _ = await launch(tmp_path, "stuck")
    try:
        await engine.wait_until_ready(CONTEXT)
        watching = asyncio.create_task(engine.wait_until_dead(Patience(busy_s=1, poll_s=0.1)))
        asking = asyncio.create_task(anext(engine.client.stream_chat({"messages": [], "max_tokens": 1})))
        cause = await asyncio.wait_for(watching, 20)
        asking.cancel()
    finally:
        await engine.stop()
    assert cause.code == "stuck"


async def test_a_server_that_never_opens_after_its_core_is_ready_fails(tmp_path: Path) -> None:
    engine, _ = await launch(tmp_path, "never-opens")
    try:
        with pytest.raises(EngineDiedError) as caught:
            await asyncio.wait_for(engine.wait_until_ready(CONTEXT, StartLimits(opening_s=1)), 20)
    finally:
        await engine.stop()
    assert caught.value.cause.message.code == "engine.never_opened"


async def test_a_start_that_takes_too_long_fails(tmp_path: Path) -> None:
    engine, _ = await launch(tmp_path, "mute")
    try:
        with pytest.raises(EngineDiedError) as caught:
            await asyncio.wait_for(engine.wait_until_ready(CONTEXT, StartLimits(whole_s=1)), 20)
    finally:
        await engine.stop()
    assert caught.value.cause.message.code == "engine.start_too_slow"


async def test_a_start_that_logs_nothing_for_too_long_fails(tmp_path: Path) -> None:
    engine, _ = await launch(tmp_path, "mute")
    try:
        with pytest.raises(EngineDiedError) as caught:
            await asyncio.wait_for(engine.wait_until_ready(CONTEXT, StartLimits(silence_s=1)), 20)
    finally:
        await engine.stop()
    assert caught.value.cause.code == "silent"
