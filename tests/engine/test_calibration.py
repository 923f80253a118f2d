"""What a real start leaves behind for the next plan."""

import time
from pathlib import Path

from tests.processes import Vedette
from vedette.measure.calibration import parse_calibration
from vedette.plan.calibration import Calibration

GIB = 1024**3
KEPT_WITHIN_S = 30
"""It is measured in the background once the engine is ready; only a lost record takes longer than this."""


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
    record = wait_for_record(running_vedette.home / "run" / "calibrations", since)
    assert record.key.model_name == "vedette-tiny"
    assert record.key.memory_total_bytes == plan["device"]["memory_total_bytes"]
    assert record.conditions.max_model_len == plan["context"]["max_model_len"]
    assert record.conditions.kv_cache_bytes == plan["memory"]["kv_cache_bytes"]
    # The engine's own account of its KV cache: a hundredth of a GiB is how it rounds.
    assert record.reported.kv_cache_bytes is not None
    assert abs(record.reported.kv_cache_bytes - record.conditions.kv_cache_bytes) < GIB / 100
    tokens = plan["context"]["max_model_len"] * plan["context"]["concurrency"]
    assert record.reported.kv_cache_tokens is not None
    assert tokens <= record.reported.kv_cache_tokens <= tokens * 1.1 + 256
    # On a CPU all is in the processes: weights, the servers themselves, and what the test request touched.
    planned = plan["memory"]["host_bytes"] + plan["memory"]["weights_bytes"]
    assert record.host_bytes is not None
    assert 0.6 * planned < record.host_bytes < 1.1 * planned
    assert record.device_bytes is None
    assert record.decode_tokens_per_s is not None
    assert 1 < record.decode_tokens_per_s < 10_000
    assert {"launching engine", "loading weights"} <= set(record.phase_s)
    assert 0 < sum(record.phase_s.values()) < 600
