"""Reads the facts of this machine, from the most specific source to the least."""

import platform
from dataclasses import replace
from pathlib import Path

from vedette.device.cpu import read_cpu_count, read_cpu_name
from vedette.device.device import Device, Family
from vedette.device.gpu_memory import GpuUse, read_gpu_processes, read_nvmap
from vedette.device.jetson import Jetson, read_jetson
from vedette.device.nvidia import Gpu, read_gpu
from vedette.device.power import read_cpu_kept_slow
from vedette.device.processes import read_processes
from vedette.device.ram import Ram, limited_ram, read_machine_memory, read_memory_cgroups, read_sharers
from vedette.device.storage import read_disk_free, read_storage, read_swap_areas


def read_device(
    root: Path = Path("/"), storage: Path | None = None, workplace: Path | None = None, cache: Path | None = None
) -> Device:
    """Read this machine: a Jetson, else a machine with an NVIDIA GPU, else a CPU.

    root: where its file system is mounted.
    storage: an existing or future directory on the disk for models and engines.
    workplace: the directory that vedette's engines run in or below. Their memory is not listed as another program's.
    cache: as `storage`, for the engines' caches.
    Raises DeviceError where the memory cannot be read.
    """
    workplace = workplace.resolve() if workplace else None
    machine_ram, swap = read_machine_memory(root)
    cgroups = read_memory_cgroups(root)
    ram = limited_ram(machine_ram, cgroups)
    device, use = _processor(root, machine_ram, ram)
    processes = read_processes(root, workplace, read_sharers(machine_ram, cgroups))
    gpu_processes, stale_bytes = read_gpu_processes(root, workplace, use)
    return replace(
        device,
        swap_total_bytes=swap.total_bytes,
        swap_free_bytes=swap.free_bytes,
        swap_zram_bytes=swap.zram_bytes,
        swap_areas=read_swap_areas(root),
        page_cache_bytes=ram.cache_bytes,
        other_processes=processes.others,
        desktop_bytes=processes.desktop_bytes,
        gpu_processes=gpu_processes,
        gpu_stale_bytes=stale_bytes,
        disk_free_bytes=read_disk_free(storage) if storage else None,
        cache_free_bytes=read_disk_free(cache) if cache else None,
        storage=read_storage(root, storage) if storage else None,
        cpu_kept_slow=read_cpu_kept_slow(root),
    )


def _processor(root: Path, machine_ram: Ram, ram: Ram) -> tuple[Device, GpuUse | None]:
    """Return the processor with its memory, and the use of its GPU. ram: `machine_ram` within cgroup limits."""
    cpu_count = read_cpu_count(root)
    jetson = read_jetson(root, machine_ram.total_bytes)
    # The driver reports on the running machine, not on a file system mounted elsewhere.
    has_driver = root == Path("/") and (jetson is None or jetson.has_usual_driver)
    gpu = read_gpu() if has_driver else None
    if jetson is not None:
        use = gpu.use if gpu is not None else read_nvmap(root)
        return _jetson_device(jetson, ram, cpu_count), use
    if gpu is not None:
        return _gpu_device(gpu, ram, cpu_count), gpu.use
    return Device(
        name=read_cpu_name(root) or "CPU",
        family=Family.CPU,
        machine=platform.machine(),
        memory_total_bytes=ram.total_bytes,
        memory_available_bytes=ram.available_bytes,
        unified_memory=True,
        memory_limited=ram.total_bytes < machine_ram.total_bytes,
        cpu_count=cpu_count,
    ), None


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
        power_modes=jetson.power_modes,
        clocks_locked=jetson.clocks_locked,
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
