"""A start that was measured puts the next plan right."""

import dataclasses
from pathlib import Path

from vedette.deploy.calibration_store import record_lesson, record_start
from vedette.deploy.proposing import propose
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.plan.calibration import SPARE_LIBRARIES_BYTES, Calibration, calibration_key, conditions_of, learned
from vedette.settings.home import Home
from vedette.settings.load import read_settings

MIB = 1024**2


def test_the_next_plan_rests_on_what_was_measured(tmp_path: Path) -> None:
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    home.data.mkdir()
    settings = read_settings({"model": "vedette-tiny"}, {"HOME": str(tmp_path)})
    first = propose(settings, home)
    assert first.calibration is None
    key = calibration_key(first.device, first.model, first.plan.settings, CPU_RECIPE.version)
    memory = first.plan.memory
    kept = 0 if first.plan.settings.returns_memory else memory.weights_bytes
    measured = memory.host_bytes + memory.weights_bytes + kept + 300 * MIB + SPARE_LIBRARIES_BYTES
    record = Calibration(key, conditions_of(first.plan.settings), host_bytes=measured)
    record_start(home.state / "calibrations", record)
    second = propose(settings, home)
    assert second.calibration == record
    assert second.plan.memory.host_bytes == memory.host_bytes + 300 * MIB
    assert second.plan.memory.weights_bytes == memory.weights_bytes
    assert second.replan(second.wish).memory.host_bytes == second.plan.memory.host_bytes

    record_start(home.state / "calibrations", dataclasses.replace(record, key=dataclasses.replace(key, clips=False)))
    assert propose(settings, home).calibration == record


def test_the_next_plan_is_smaller_than_one_that_was_not_enough(tmp_path: Path) -> None:
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    home.data.mkdir()
    settings = read_settings({"model": "SmolLM2-135M-Instruct"}, {"HOME": str(tmp_path)})
    first = propose(settings, home)
    key = calibration_key(first.device, first.model, first.plan.settings, CPU_RECIPE.version)
    lesson = learned(first.plan, first.device.memory_total_bytes, crashes=1)
    record_lesson(home.state / "calibrations", key, conditions_of(first.plan.settings), lesson)
    second = propose(settings, home)
    assert second.plan.memory.total_bytes <= first.plan.memory.total_bytes - 128 * MIB
