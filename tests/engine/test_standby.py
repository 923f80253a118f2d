"""A standby of real vLLM takes over when its engine is killed."""

import os
import signal
from pathlib import Path

from vedette.device.device import Family
from vedette.device.probe import read_device
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine
from vedette.engine.hosts.managed import ManagedHost
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.engine.process.process_command import Command
from vedette.engine.process.standby import Standby
from vedette.engine.process.workplace import find_processes, make_workplace
from vedette.engine.state import Life, Phase, State
from vedette.engine.vllm.flags import Target
from vedette.models.checkpoint import read_model
from vedette.models.store.model_lookup import packaged_path
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish
from vedette.settings.table import Settings


async def ready_engine(
    plan: Plan, command: Command, log: Path, client: EngineClient, standby: Standby | None = None
) -> Engine:
    life = Life()
    life.enter(State.PREPARING)
    life.enter(State.STARTING, Phase.LAUNCHING)
    engine = await Engine.launch(command, log, client, life, standby)
    try:
        await engine.wait_until_ready(plan.context)
    except BaseException:
        await engine.stop()
        raise
    return engine


async def test_the_standby_takes_over_from_a_killed_engine(check_home: Path, tmp_path: Path) -> None:
    device, model = read_device(), packaged_path("vedette-tiny")
    assert device.family is Family.CPU
    plan = make_plan(device, read_model(model), Wish())
    host = ManagedHost(
        CPU_RECIPE,
        check_home / "engines",
        Settings().torch_index,
        check_home / "cache",
        tmp_path / "run" / "1",
    )
    await host.make_ready(lambda step: None)
    command = host.command(plan, Target(model, "tiny", None, cpu=True))
    make_workplace(command.workplace)

    engine = await ready_engine(plan, command, tmp_path / "log", EngineClient(command.workplace, "tiny"))
    try:
        core = next(one for one in find_processes(command.workplace) if one.name().startswith("VLLM::EngineCor"))
        assert core.ppid() == engine.pid, "the core is not a fork of the server"
        standby = await Standby.prepare(command)
        assert standby is not None
        assert await standby.wait_until_ready()
        os.kill(core.pid, signal.SIGKILL)
        assert (await engine.wait_until_dead()).code != "out_of_memory"
    finally:
        await engine.stop()
    assert [one.pid for one in find_processes(tmp_path / "run")] == [standby.pid]

    again = await ready_engine(plan, command, tmp_path / "log", EngineClient(command.workplace, "tiny"), standby)
    try:
        assert again.pid == standby.pid
        assert again.reported.kv_cache_bytes is not None
    finally:
        await again.stop()
    assert find_processes(tmp_path / "run") == []
