"""NVIDIA GPUs with NVML. Facts that a broken or partial NVML does not give are None; it causes no error."""

import contextlib
import ctypes
import importlib
import os
from dataclasses import dataclass
from typing import Any

from vedette.device.gpu_memory import GpuUse, Holding
from vedette.language.foreign_text import reason_in

_LONGEST_NAME = 100
_UNKNOWN = 2**63
"""NVML's counters hold larger numbers where they know none."""


@dataclass(frozen=True)
class Gpu:
    """One GPU; the memory fields are None where it has no memory of its own (GB10, Thor)."""

    name: str
    compute_capability: tuple[int, int] | None
    memory_total_bytes: int | None
    memory_free_bytes: int | None
    memory_bandwidth_bytes_per_s: int | None
    peak_flops_per_s: float | None
    driver_version: str | None
    use: GpuUse | None = None
    """None where the driver does not list the processes."""


def read_gpu() -> Gpu | None:
    """Read the GPU that CUDA uses first; None without a driver or a GPU, or with a broken driver."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    # Imported only where the driver exists: the binding would take memory for nothing elsewhere.
    nvml = importlib.import_module("pynvml")
    return read_gpu_with(nvml, os.environ.get("CUDA_VISIBLE_DEVICES"))


def read_gpu_with(nvml: Any, visible: str | None) -> Gpu | None:
    """Ask `nvml` (the module pynvml, or a test double with its functions) for the first visible GPU."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        handle = _first_visible(nvml, visible)
        return None if handle is None else _describe(nvml, handle)
    except nvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _first_visible(nvml: Any, visible: str | None) -> Any:
    if visible is None:
        return nvml.nvmlDeviceGetHandleByIndex(0) if nvml.nvmlDeviceGetCount() else None
    first = visible.split(",")[0].strip()
    if first.isascii() and first.isdigit() and len(first) < 10:
        return nvml.nvmlDeviceGetHandleByIndex(int(first))
    return nvml.nvmlDeviceGetHandleByUUID(first) if first.startswith(("GPU-", "MIG-")) else None


def _describe(nvml: Any, handle: Any) -> Gpu:
    def ask(function: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, function)(*arguments)
        except (nvml.NVMLError, AttributeError, TypeError, ValueError):  # also of a binding of another version
            return None

    memory = ask("nvmlDeviceGetMemoryInfo", handle)
    capability = _parse_capability(ask("nvmlDeviceGetCudaComputeCapability", handle))
    name = ask("nvmlDeviceGetName", handle)
    driver = ask("nvmlSystemGetDriverVersion")
    return Gpu(
        name=_text(name) or "NVIDIA GPU",
        compute_capability=capability,
        memory_total_bytes=_count(memory, "total"),
        memory_free_bytes=_count(memory, "free"),
        memory_bandwidth_bytes_per_s=_bandwidth(
            _checked(ask("nvmlDeviceGetMemoryBusWidth", handle)),
            _checked(ask("nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_MEM)),
        ),
        peak_flops_per_s=_peak_flops(
            capability,
            _checked(ask("nvmlDeviceGetNumGpuCores", handle)),
            _checked(ask("nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_SM)),
        ),
        driver_version=_text(driver),
        use=_use(
            [ask(f"nvmlDeviceGet{kind}RunningProcesses", handle) for kind in ("Compute", "Graphics")],
            # Version 2 lists the driver's own memory apart from the memory in use.
            ask("nvmlDeviceGetMemoryInfo", handle, getattr(nvml, "nvmlMemory_v2", None)),
        ),
    )


def _use(listings: list[Any], memory: Any) -> GpuUse | None:
    """List each process once, although one that computes and draws is in both listings."""
    if not all(isinstance(listing, list) for listing in listings):
        return None
    held: dict[int, int | None] = {}
    for process in (process for listing in listings for process in listing):
        pid = _count(process, "pid")
        if pid is not None:
            held[pid] = _count(process, "usedGpuMemory")
    used = _count(memory, "used") if hasattr(memory, "reserved") else None
    return GpuUse(tuple(Holding(pid, size) for pid, size in held.items()), used)


def _parse_capability(answer: object) -> tuple[int, int] | None:
    match answer:
        case (int(major), int(minor)) if 0 < major < 1000 and 0 <= minor < 1000:
            return major, minor
    return None


def _count(answer: Any, name: str) -> int | None:
    """The number in a field of an answer; None where there is none."""
    return _checked(getattr(answer, name, None))


def _checked(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _UNKNOWN else None


def _bandwidth(bus_bits: int | None, clock_mhz: int | None) -> int | None:
    """Double data rate: two transfers a clock (H100: 5,120 bits at 2,619 MHz are 3.35 TB/s)."""
    if not bus_bits or not clock_mhz:
        return None
    return bus_bits // 8 * clock_mhz * 1_000_000 * 2


FLOPS_PER_CORE_AND_CLOCK = {
    (7, 5): 16, (8, 0): 32, (8, 6): 8, (8, 9): 8, (9, 0): 32, (10, 0): 64, (10, 3): 64, (12, 0): 8, (12, 1): 8,
}  # fmt: skip
"""16-bit operations of the matrix units, dense, over the CUDA cores of a multiprocessor (CUDA C++ Programming
Guide, arithmetic throughput; A100: 6,912 cores at 1.41 GHz are 312 TFLOPS)."""


def _peak_flops(capability: tuple[int, int] | None, cores: int | None, clock_mhz: int | None) -> float | None:
    each = FLOPS_PER_CORE_AND_CLOCK.get(capability) if capability else None
    return cores * clock_mhz * 1e6 * each if each and cores and clock_mhz else None


def _text(value: Any) -> str | None:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return reason_in(text, _LONGEST_NAME) or None if isinstance(text, str) else None
