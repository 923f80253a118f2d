"""Devices with as much memory as a test wants."""

import dataclasses

from vedette.device.boards import device_named
from vedette.device.device import Device, Family

MIB = 1024**2


GIB = 1024**3


def cpu(available_bytes: int) -> Device:
    return Device(
        name="box",
        family=Family.CPU,
        machine="x86_64",
        memory_total_bytes=available_bytes + GIB,
        memory_available_bytes=available_bytes,
        unified_memory=True,
        cpu_count=2,
    )


def jetson(available_bytes: int) -> Device:
    return dataclasses.replace(
        device_named("orin-nano-8gb"),
        memory_total_bytes=available_bytes + GIB,
        memory_available_bytes=available_bytes,
    )


def gpu(available_bytes: int, host_bytes: int) -> Device:
    return dataclasses.replace(
        cpu(available_bytes),
        family=Family.NVIDIA,
        unified_memory=False,
        compute_capability=(9, 0),
        memory_bandwidth_bytes_per_s=3_352_320_000_000,
        host_memory_available_bytes=host_bytes,
    )
