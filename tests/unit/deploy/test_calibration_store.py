"""Calibration records as files: kept, found, and passed over when they cannot be used."""

import dataclasses
import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from vedette.deploy.calibration_store import (
    MOST_RECORDS,
    device_bytes_with,
    host_bytes,
    parse_calibration,
    read_calibration,
    record_lesson,
    record_service,
    record_start,
)
from vedette.plan.calibration import Calibration, Conditions, Key, Lesson, Reported
from vedette.plan.plan import Backend, Graphs

GIB = 1024**3
KEY = Key(
    "Jetson Orin Nano 8GB", 8 * GIB, "0.26.0", "a/../model", 3 * GIB, Backend.CUDA, Graphs.GRAPHS, None, True, True
)
CONDITIONS = Conditions(2048, 2, 1024, GIB, 2, 1, 262_144, 2_097_152, 8, (1, 2))
RECORD = Calibration(
    KEY,
    CONDITIONS,
    Reported(model_weights_bytes=3 * GIB, kv_cache_tokens=33_040, graph_capture_s=2.0),
    device_bytes=5 * GIB,
    host_bytes=2 * GIB,
    phase_s={"loading weights": 4.5},
    decode_tokens_per_s=28.5,
    decode_share=0.9,
)


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    record_start(tmp_path / "calibrations", RECORD)
    assert read_calibration(tmp_path / "calibrations", KEY) == RECORD
    (path,) = (tmp_path / "calibrations").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_key_finds_nothing(tmp_path: Path) -> None:
    assert read_calibration(tmp_path / "nowhere", KEY) is None
    record_start(tmp_path, RECORD)
    for change in ({"engine_version": "0.32.0"}, {"graphs": Graphs.EAGER}, {"clips": False}, {"weights_bytes": 1}):
        assert read_calibration(tmp_path, dataclasses.replace(KEY, **change)) is None


LESSON = Lesson(planned_bytes=7 * GIB, at_most_bytes=6 * GIB, available_bytes=7 * GIB)


def test_a_lesson_stands_beside_what_was_measured_and_survives_the_next_start(tmp_path: Path) -> None:
    record_start(tmp_path, RECORD)
    record_lesson(tmp_path, KEY, CONDITIONS, LESSON)
    taught = dataclasses.replace(RECORD, lesson=LESSON)
    assert read_calibration(tmp_path, KEY) == taught
    record_start(tmp_path, taught)
    assert read_calibration(tmp_path, KEY) == taught


def test_a_lesson_before_anything_was_measured_holds_for_every_start_that_it_could_recur_in(tmp_path: Path) -> None:
    record_lesson(tmp_path, KEY, CONDITIONS, LESSON)
    for change in ({}, {"graphs": Graphs.EAGER}, {"clips": False}, {"kv_cache_dtype": "fp8"}):
        key = dataclasses.replace(KEY, **change)
        assert read_calibration(tmp_path, key) == Calibration(key, CONDITIONS, lesson=LESSON)
    for other in ({"engine_version": "0.32.0"}, {"memory_total_bytes": GIB}, {"pictures": False}):
        assert read_calibration(tmp_path, dataclasses.replace(KEY, **other)) is None


def test_hours_of_service_let_go_of_a_lesson_until_it_is_learned_again(tmp_path: Path) -> None:
    record_service(tmp_path, KEY)
    assert read_calibration(tmp_path, KEY) is None  # there is nothing to let go of

    def lesson() -> Lesson:
        found = read_calibration(tmp_path, KEY)
        assert found is not None
        assert found.lesson is not None
        return found.lesson

    record_lesson(tmp_path, KEY, CONDITIONS, LESSON)
    record_service(tmp_path, KEY)
    assert lesson().holds
    record_service(tmp_path, dataclasses.replace(KEY, clips=False))
    assert not lesson().holds
    record_lesson(tmp_path, KEY, CONDITIONS, LESSON)
    assert lesson() == dataclasses.replace(LESSON, times=2)


def good() -> dict[str, Any]:
    return {
        "key": dataclasses.asdict(KEY) | {"backend": "cuda", "graphs": "graphs"},
        "conditions": dataclasses.asdict(CONDITIONS),
    }


def test_parsing() -> None:
    assert parse_calibration(json.dumps(good()).encode()) == Calibration(KEY, CONDITIONS)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"[" * 50_000,
        b'{"x":' + b"[" * 50_000,
        json.dumps(good() | {"host_bytes": -1}).encode(),
        json.dumps(good() | {"host_bytes": "5"}).encode(),
        json.dumps(good() | {"lesson": {"planned_bytes": 1, "at_most_bytes": -1, "available_bytes": 1}}).encode(),
        json.dumps(good() | {"host_bytes": 1 << 60}).encode(),
        json.dumps(good() | {"decode_tokens_per_s": 1e300}).encode(),
        json.dumps(good() | {"decode_tokens_per_s": float("nan")}).encode(),
        json.dumps(good() | {"phase_s": {"loading weights": -1.0}}).encode(),
        json.dumps(good() | {"conditions": {}}).encode(),
        json.dumps(good() | {"key": good()["key"] | {"graphs": "none such"}}).encode(),
        json.dumps(good() | {"key": good()["key"] | {"model_name": "another"}}).encode(),
        b" " * 100_000,
    ],
)
def test_a_file_that_cannot_be_used_is_passed_over(
    tmp_path: Path, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    record_start(tmp_path, RECORD)
    (path,) = tmp_path.iterdir()
    path.write_bytes(raw)
    with caplog.at_level(logging.WARNING):
        assert read_calibration(tmp_path, KEY) is None
    assert path.name in caplog.text
    record_start(tmp_path, RECORD)
    assert read_calibration(tmp_path, KEY) == RECORD


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_plain_file_is_passed_over(tmp_path: Path, make: Callable[[Path], None]) -> None:
    record_start(tmp_path, RECORD)
    (path,) = tmp_path.iterdir()
    path.unlink()
    make(path)
    assert read_calibration(tmp_path, KEY) is None


def test_the_oldest_records_go(tmp_path: Path) -> None:
    keys = [dataclasses.replace(KEY, model_name=f"model-{number}") for number in range(MOST_RECORDS + 2)]
    for age, key in enumerate(reversed(keys)):
        record_start(tmp_path, dataclasses.replace(RECORD, key=key))
        newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        os.utime(newest, (1_000_000 + age, 1_000_000 + age))
    assert len(list(tmp_path.iterdir())) == MOST_RECORDS
    assert read_calibration(tmp_path, keys[-1]) is None
    assert read_calibration(tmp_path, keys[0]) is not None


def test_the_memory_of_processes_is_theirs() -> None:
    own = host_bytes([psutil.Process()])
    assert own is not None
    assert 1024**2 < own <= psutil.Process().memory_info().rss
    assert host_bytes([]) is None


def test_of_another_users_process_what_can_be_read_is_counted() -> None:
    first = psutil.Process(1)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65_534)
    try:
        with pytest.raises(psutil.AccessDenied):
            first.memory_full_info()
        seen = host_bytes([first])
    finally:
        os.seteuid(me)
    assert seen is not None
    assert 0.5 < seen / first.memory_info().rss < 2


class NVMLError(Exception):
    pass


def refuse(*_: object) -> Any:
    raise NVMLError("Not Supported")


def driver(**answers: Any) -> SimpleNamespace:
    """A driver of two GPUs, each with one process of ours and one of others; no GPU stands in the test machines."""
    running = {
        0: [SimpleNamespace(pid=7, usedGpuMemory=3 * GIB), SimpleNamespace(pid=99, usedGpuMemory=GIB)],
        1: [SimpleNamespace(pid=8, usedGpuMemory=GIB), SimpleNamespace(pid=7, usedGpuMemory=None)],
    }
    functions: dict[str, Any] = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: running[handle],
    }
    return SimpleNamespace(**(functions | answers))


def test_gpu_memory_is_that_of_these_processes_alone() -> None:
    assert device_bytes_with(driver(), {7, 8}) == 4 * GIB
    assert device_bytes_with(driver(), {1}) is None


def test_a_driver_that_cannot_tell_leaves_it_unknown() -> None:
    assert device_bytes_with(driver(nvmlInit=refuse), {7}) is None
    assert device_bytes_with(driver(nvmlDeviceGetComputeRunningProcesses=refuse), {7}) is None
