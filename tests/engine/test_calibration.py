"""The calibration record that a real start writes for later plans."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rig.processes import Vedette
from tests.rig.stand_ins.engine_environment import ENGINE_STAND_IN
from vedette.deploy.calibration_store import measured_start, parse_calibration
from vedette.device.boards import device_named
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine
from vedette.engine.process.process_command import SOCKET, Command
from vedette.engine.process.workplace import find_processes, make_workplace
from vedette.engine.state import Life, Phase, State
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.calibration import SPARE_LIBRARIES_BYTES, Calibration, calibration_key
from vedette.plan.make import make_plan
from vedette.plan.plan import Wish

GIB = 1024**3
KEPT_WITHIN_S = 30
"""A record that takes longer than this is missing."""


def wait_for_record(directory: Path, since: float) -> Calibration:
    deadline = time.monotonic() + KEPT_WITHIN_S
    while time.monotonic() < deadline:
        for path in directory.glob("vedette-tiny-*.json"):
            if path.stat().st_mtime >= since:
                return parse_calibration(path.read_bytes())
        time.sleep(0.1)
    raise AssertionError(f"no record in {directory} after {KEPT_WITHIN_S} s")


def test_a_start_leaves_a_record_that_agrees_with_its_plan(running_vedette: Vedette) -> None:
    running_vedette.wait_until_ready()
    status = running_vedette.status()
    plan, since = status["plan"], status["since"]
    # vedette writes the record just before it is ready, so that no client's request is counted.
    record = wait_for_record(running_vedette.home / "run" / "calibrations", since - 60)
    assert record.key.model_name == "vedette-tiny"
    assert record.key.memory_total_bytes == plan["device"]["memory_total_bytes"]
    assert record.conditions.max_model_len == plan["context"]["max_model_len"]
    assert record.conditions.kv_cache_bytes == plan["memory"]["kv_cache_bytes"]
    # The engine logs the size of its KV cache to a hundredth of a GiB.
    assert record.reported.kv_cache_bytes is not None
    assert abs(record.reported.kv_cache_bytes - record.conditions.kv_cache_bytes) < GIB / 100
    tokens = plan["context"]["max_model_len"] * plan["context"]["concurrency"]
    assert record.reported.kv_cache_tokens is not None
    assert tokens <= record.reported.kv_cache_tokens <= tokens * 1.1 + 256
    # On a CPU the processes hold everything: weights, libraries, and the memory that the test request touched.
    planned = plan["memory"]["host_bytes"] + plan["memory"]["weights_bytes"] + SPARE_LIBRARIES_BYTES
    assert record.host_bytes is not None
    assert 0.6 * planned < record.host_bytes < 1.1 * planned
    assert record.device_bytes is None
    assert record.decode_tokens_per_s is not None
    assert 1 < record.decode_tokens_per_s < 10_000
    assert {Phase.LAUNCHING.value, Phase.LOADING.value} <= set(record.phase_s)
    assert 0 < sum(record.phase_s.values()) < 600


@pytest.mark.parametrize("unified", [True, False])
async def test_without_a_driver_the_gpu_bytes_come_from_the_drop_in_free_memory(tmp_path: Path, unified: bool) -> None:
    device = device_named("agx-orin-32gb")
    if not unified:
        device = replace(device, unified_memory=False, host_memory_available_bytes=32 * GIB)
    model = read_facts(find_model("cosmos-reason2-2b", tmp_path))
    assert model is not None
    plan = make_plan(device, model, Wish())
    life = Life()
    life.enter(State.PREPARING)
    life.enter(State.STARTING, Phase.LAUNCHING)
    command = Command((sys.executable, str(ENGINE_STAND_IN), SOCKET), {"PATH": "/usr/bin:/bin"}, tmp_path / "engine")
    make_workplace(command.workplace)
    client = EngineClient(command.workplace, "model")
    engine = await Engine.launch(command, tmp_path / "engine.log", client, life)
    try:
        await engine.wait_until_ready(plan.context)
        key = calibration_key(device, model, plan.settings, "0.26.0")
        processes = find_processes(tmp_path / "engine")
        measured = measured_start(key, plan, engine, life.phase_s, processes, 5 * GIB)
    finally:
        await engine.stop()
    assert measured.host_bytes is not None
    assert 0 < measured.host_bytes < GIB
    assert measured.device_bytes == 5 * GIB - (measured.host_bytes if unified else 0)
    assert Phase.LOADING.value in measured.phase_s
