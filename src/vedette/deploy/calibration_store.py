"""Calibration records: the measured memory of started engines, as files.

A directory of vedette's has one JSON file for each key, and one file for the lessons of crashes by lack of memory,
which several keys share. Invalid files are skipped.
"""

import contextlib
import ctypes
import hashlib
import importlib
import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil

from vedette.engine.engine import Engine
from vedette.engine.state import Phase
from vedette.files import list_directory, read_whole, write_whole
from vedette.plan.calibration import Calibration, Conditions, Key, Lesson, conditions_of, lesson_key
from vedette.plan.plan import Backend, Plan
from vedette.settings.home import Home

MOST_RECORDS = 64
"""The oldest are deleted: a machine serves a few models with a few settings."""
_MOST_ENTRIES = 10_000
_MOST_FILE_BYTES = 64 * 1024
_MOST = 1 << 50
"""Figures in a record are smaller than this."""
_MOST_NAME = 60

log = logging.getLogger(__name__)


def calibrations_of(home: Home) -> Path:
    """The directory of a home's calibration records."""
    return home.state / "calibrations"


def read_calibration(directory: Path, key: Key) -> Calibration | None:
    """What is known for this key: its measured start, and the lessons that it shares with other keys; None if nothing.

    Invalid records are skipped and logged.
    """
    start, taught = _read(_path(directory, key), key), _read_lesson(directory, key)
    if taught is None:
        return start
    return replace(start or replace(taught, key=key), lesson=taught.lesson)


def _read_lesson(directory: Path, key: Key) -> Calibration | None:
    return _read(_lesson_path(directory, key), lesson_key(key))


def _read(path: Path, key: Key) -> Calibration | None:
    try:
        found = parse_calibration(read_whole(path, _MOST_FILE_BYTES, own=True))
        if found.key != key:
            raise ValueError("it is for another key")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("Skipped the invalid calibration record %s: %s", path, error)
        return None
    return found


def parse_calibration(raw: bytes) -> Calibration:
    """The record in these bytes. Raises ValueError."""
    try:
        found = msgspec.json.decode(raw, type=Calibration)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not all(0 <= number < _MOST for number in _numbers(msgspec.to_builtins(found))):
        raise ValueError("it has an impossible figure")
    return found


def measured_start(
    key: Key,
    plan: Plan,
    engine: Engine,
    phase_s: Mapping[Phase, float],
    processes: Sequence[psutil.Process],
    taken_bytes: int,
) -> Calibration:
    """What the start of this plan took; its engine is ready.

    taken_bytes: how much the available memory has shrunk since the plan; used where the driver does not tell the memory
    of a process.
    """
    host = host_bytes(processes)
    device = device_bytes({process.pid for process in processes})
    if device is None and key.backend is Backend.CUDA and host is not None:
        unified = plan.memory.host_available_bytes is None
        device = max(0, taken_bytes - (host if unified else 0))
    reached, ceiling = engine.decode_tokens_per_s, plan.speed.decode_tokens_per_s_ceiling
    return Calibration(
        key=key,
        conditions=conditions_of(plan.settings),
        reported=engine.reported,
        device_bytes=device,
        host_bytes=host,
        phase_s={phase.value: round(seconds, 3) for phase, seconds in phase_s.items()},
        decode_tokens_per_s=reached,
        decode_share=reached / ceiling if reached and ceiling else None,
    )


def record_start(directory: Path, calibration: Calibration) -> None:
    """Records what a start taught, instead of what an earlier one did. Raises OSError."""
    _write(_path(directory, calibration.key), replace(calibration, lesson=None))


def record_lesson(directory: Path, key: Key, conditions: Conditions, lesson: Lesson) -> None:
    """Records that the engine of this key ran out of memory, joined with earlier lessons. Raises OSError."""
    known = _read_lesson(directory, key)
    joined = lesson.after(known.lesson if known else None)
    _write(_lesson_path(directory, key), Calibration(lesson_key(key), conditions, lesson=joined))


def record_service(directory: Path, key: Key) -> None:
    """Records that the engine has run for an hour; each such hour counts against a lesson. Raises OSError."""
    known = _read_lesson(directory, key)
    if known is not None and known.lesson is not None:
        served = replace(known.lesson, services=known.lesson.services + 1)
        _write(_lesson_path(directory, key), replace(known, lesson=served))


def host_bytes(processes: Iterable[psutil.Process]) -> int | None:
    """RAM of these processes, shared pages counted once (proportional set size); None if it cannot be read.

    For processes of another user, such as those in Docker's containers, only private and shared pages can be read. The
    sum of all private pages and the most shared pages of one process is close.
    """
    total = hidden = shared = 0
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            try:
                total += process.memory_full_info().pss
            except psutil.AccessDenied:
                info = process.memory_info()
                hidden += info.rss - info.shared
                shared = max(shared, info.shared)
    return total + hidden + shared or None


def device_bytes(pids: Collection[int]) -> int | None:
    """Memory that these processes hold on NVIDIA GPUs, with CUDA's context.

    None where the driver cannot tell: without a GPU, on a Jetson, or for processes of another container.
    """
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return device_bytes_with(importlib.import_module("pynvml"), pids)


def device_bytes_with(nvml: Any, pids: Collection[int]) -> int | None:
    """As `device_bytes`, from `nvml`: the module pynvml, or a stand-in with its functions."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    held: list[int] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid in pids and process.usedGpuMemory is not None:
                    held.append(int(process.usedGpuMemory))
    except nvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return sum(held) if held else None


def _path(directory: Path, key: Key) -> Path:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", key.model_name)[:_MOST_NAME].strip(".-")
    return directory / f"{name}-{hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:16]}.json"


def _lesson_path(directory: Path, key: Key) -> Path:
    path = _path(directory, lesson_key(key))
    return path.with_name(f"lesson-{path.name}")


def _numbers(value: object) -> Iterable[float]:
    if isinstance(value, (int, float)):
        yield value if math.isfinite(value) else -1
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner)


def _write(path: Path, calibration: Calibration) -> None:
    directory = path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, msgspec.json.format(msgspec.json.encode(calibration), indent=1))
    _drop_oldest(directory)


def _drop_oldest(directory: Path) -> None:
    """Keeps the newest records; an unfinished file of a killed writer counts as one."""
    ages: list[tuple[float, Path]] = []
    for path in list_directory(directory, _MOST_ENTRIES):
        with contextlib.suppress(OSError):
            ages.append((path.lstat().st_mtime, path))
    for _, path in sorted(ages, reverse=True)[MOST_RECORDS:]:
        with contextlib.suppress(OSError):
            path.unlink()
