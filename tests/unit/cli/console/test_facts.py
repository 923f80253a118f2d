"""The facts of a device, a line each."""

import dataclasses
import re

from tests.rig.devices import jetson
from vedette.cli.console.facts import _LABELS, device_message, fact_lines
from vedette.device.device import Device, GpuProcess, OtherProcess, PowerMode, SwapArea
from vedette.language.message import Language, say

GIB = 1024**3
BOARD = dataclasses.replace(
    jetson(5 * GIB),
    other_processes=(OtherProcess("firefox", 812, 3 * GIB // 2), OtherProcess("Xorg", 640, GIB // 2)),
    gpu_processes=(GpuProcess("llama-server", 7, 3 * GIB),),
    swap_areas=(SwapArea("/swapfile", 4 * GIB, "sd"), SwapArea("/x", GIB, None)),
    power_modes=(PowerMode(0, "15W", 612_000_000, None),),
    clocks_locked=None,
    disk_free_bytes=50 * 1024**2,
    compute_capability=(8, 7),
    memory_bandwidth_bytes_per_s=68_000_000_000,
)


def shown(language: Language) -> dict[str, str]:
    return dict(re.split(r"  +", line.strip(), maxsplit=1) for line in fact_lines(BOARD, language))


def test_each_fact_has_a_line() -> None:
    assert {"name", "assumed", *_LABELS} == {each.name for each in dataclasses.fields(Device)}
    assert len(shown("en")) == len(shown("zh")) == len(_LABELS)


def test_facts_are_shown_with_their_units() -> None:
    facts = shown("en")
    assert facts["other processes"] == "firefox (812) 1.50 GiB, Xorg (640) 0.50 GiB"
    assert facts["processes on the GPU"] == "llama-server (7) 3.00 GiB"
    assert facts["swap areas"] == "/swapfile 4.00 GiB (sd), /x 1.00 GiB (storage unknown)"
    assert facts["power modes"] == "15W"
    assert facts["GPU clock locked at its highest"] == "unknown"
    assert facts["disk free for models"] == "50 MiB"
    assert facts["compute capability"] == "8.7"
    assert facts["memory bandwidth"] == "68 GB/s"


def test_facts_are_told_in_chinese() -> None:
    facts = shown("zh")
    assert facts["其他进程"] == "firefox（812）1.50 GiB、Xorg（640）0.50 GiB"
    assert facts["GPU 锁定在最高频率"] == "未知"
    assert "可用内存" in say(device_message(BOARD), "zh")
