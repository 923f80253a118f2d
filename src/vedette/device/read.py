"""Which machine is this? Facts are read once, from the most telling source to the least."""

import platform
import shutil
from dataclasses import replace
from pathlib import Path

from vedette.device.cpu import read_cpu_count, read_cpu_name
from vedette.device.facts import Device, Family
from vedette.device.jetson import Jetson, read_jetson
from vedette.device.memory import Ram, limited_ram, read_machine_memory, read_memory_cgroups
from vedette.device.nvidia import Gpu, read_gpu
from vedette.device.processes import read_other_processes


def read_device(root: Path = Path("/"), storage: Path | None = None, workplace: Path | None = None) -> Device:
    """This machine: a Jetson, else a machine with an NVIDIA GPU, else a CPU.

    root: where its file system is mounted.
    storage: a directory, or one yet to be made, on the disk that models and engines will lie on.
    workplace: the directory that vedette's engine runs in, whose memory is nobody else's.
    Raises DeviceError where not even the memory can be read.
    """
    machine_ram, swap = read_machine_memory(root)
    ram = limited_ram(machine_ram, read_memory_cgroups(root))
    return replace(
        _processor(root, machine_ram, ram),
        swap_total_bytes=swap.total_bytes,
        swap_free_bytes=swap.free_bytes,
        swap_zram_bytes=swap.zram_bytes,
        page_cache_bytes=ram.cache_bytes,
        other_processes=read_other_processes(root, workplace),
        disk_free_bytes=_disk_free(storage) if storage else None,
    )


def _processor(root: Path, machine_ram: Ram, ram: Ram) -> Device:
    """What computes, and the memory that it has; ram: what cgroups leave of `machine_ram`."""
    cpu_count = read_cpu_count(root)
    jetson = read_jetson(root, machine_ram.total_bytes)
    if jetson is not None:
        return _jetson_device(jetson, ram, cpu_count)
    # The driver speaks of the running machine only, not of a file system mounted elsewhere.
    gpu = read_gpu() if root == Path("/") else None
    if gpu is not None:
        return _gpu_device(gpu, ram, cpu_count)
    return Device(
        name=read_cpu_name(root) or "CPU",
        family=Family.CPU,
        machine=platform.machine(),
        memory_total_bytes=ram.total_bytes,
        memory_available_bytes=ram.available_bytes,
        unified_memory=True,
        memory_limited=ram.total_bytes < machine_ram.total_bytes,
        cpu_count=cpu_count,
    )


def _jetson_device(jetson: Jetson, ram: Ram, cpu_count: int) -> Device:
    return Device(
        name=jetson.name,
        family=Family.JETSON,
        machine="aarch64",
        memory_total_bytes=ram.total_bytes,
        memory_available_bytes=ram.available_bytes,
        unified_memory=True,
        cpu_count=cpu_count,
        gpu_name=f"{jetson.board.title} GPU" if jetson.board else None,
        compute_capability=jetson.compute_capability,
        memory_bandwidth_bytes_per_s=jetson.memory_bandwidth_bytes_per_s,
        peak_flops_per_s=jetson.board.tensor_tflops * 1e12 if jetson.board else None,
        l4t_version=jetson.l4t_version,
        jetpack_version=jetson.jetpack_version,
        page_cache_counts_as_used=jetson.page_cache_counts_as_used,
        power_mode=jetson.power_mode,
    )


def _gpu_device(gpu: Gpu, ram: Ram, cpu_count: int) -> Device:
    own_total_bytes, own_free_bytes = gpu.memory_total_bytes, gpu.memory_free_bytes
    unified = own_total_bytes is None or own_free_bytes is None
    return Device(
        name=gpu.name,
        family=Family.NVIDIA,
        machine=platform.machine(),
        memory_total_bytes=own_total_bytes or ram.total_bytes,
        memory_available_bytes=ram.available_bytes if unified else own_free_bytes or 0,
        unified_memory=unified,
        cpu_count=cpu_count,
        gpu_name=gpu.name,
        compute_capability=gpu.compute_capability,
        memory_bandwidth_bytes_per_s=gpu.memory_bandwidth_bytes_per_s,
        peak_flops_per_s=gpu.peak_flops_per_s,
        driver_version=gpu.driver_version,
        host_memory_available_bytes=None if unified else ram.available_bytes,
    )


def _disk_free(storage: Path) -> int | None:
    """Free bytes where `storage` lies or will lie."""
    existing = next((path for path in (storage, *storage.parents) if path.exists()), None)
    try:
        return shutil.disk_usage(existing).free if existing else None
    except OSError:
        return None
