"""Facts of a machine. `None` is unknown."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

StorageKind = Literal["nvme", "sd", "emmc", "usb", "network"]


class Family(Enum):
    JETSON = "jetson"
    NVIDIA = "nvidia"
    CPU = "cpu"


@dataclass(frozen=True)
class OtherProcess:
    """A process that competes with the model for memory."""

    name: str
    """As the kernel has it, without unprintable characters."""
    pid: int
    resident_bytes: int
    """Without mapped files: the kernel can free those, and they count as available."""
    run_by: str | None = None
    """What started the process: container engine and container (`docker 3f2a1b4c5d6e`), the system service, or another
    vedette with its state directory (`vedette /srv/eyes/run`)."""


@dataclass(frozen=True)
class GpuProcess:
    """A living process that holds memory on the GPU and is neither vedette nor its engine."""

    name: str
    pid: int
    gpu_bytes: int
    """On unified memory /proc does not count this RAM as resident."""
    run_by: str | None = None
    """As for `OtherProcess`."""


@dataclass(frozen=True)
class SwapArea:
    """A swap file or partition that is no zram."""

    path: str
    total_bytes: int
    storage: StorageKind | None


@dataclass(frozen=True)
class PowerMode:
    """One power mode of a Jetson's nvpmodel."""

    number: int
    name: str
    gpu_max_hz: int | None
    """None where the mode does not limit the clock."""
    memory_max_hz: int | None


@dataclass(frozen=True)
class Device:
    """Facts of one machine, read from it (`assumed=False`) or taken from the catalogue (`assumed=True`).

    For a GPU with memory of its own, the `memory_*` fields describe the GPU's memory. On unified memory and on a CPU
    they describe the RAM that vedette may use (a memory cgroup's limit counts as the total).
    """

    name: str
    family: Family
    machine: str
    """Instruction set as `uname -m` prints it: x86_64, aarch64."""
    memory_total_bytes: int
    memory_available_bytes: int
    unified_memory: bool
    """CPU and GPU (if any) share the memory: engine processes and page cache take memory from the model."""
    cpu_count: int
    gpu_name: str | None = None
    compute_capability: tuple[int, int] | None = None
    """(8, 7) for sm_87; None without an NVIDIA GPU or where it is unknown."""
    memory_bandwidth_bytes_per_s: int | None = None
    peak_flops_per_s: float | None = None
    """Multiplications and additions of 16-bit numbers on the GPU's matrix units, without sparsity."""
    memory_limited: bool = False
    """The total is a memory cgroup's limit: no process outside the cgroup uses this memory."""
    l4t_version: str | None = None
    jetpack_version: str | None = None
    driver_version: str | None = None
    host_memory_available_bytes: int | None = None
    """RAM beside a discrete GPU's own memory; None on unified memory and CPU, where it is the same RAM."""
    swap_total_bytes: int | None = None
    """Never counted as memory for the model."""
    swap_free_bytes: int | None = None
    swap_zram_bytes: int | None = None
    """Part of the swap that is compressed RAM (zram) and not disk."""
    page_cache_bytes: int | None = None
    """Part of the available RAM that caches files now and has to be freed first."""
    page_cache_counts_as_used: bool = False
    """In CUDA's call for free memory, as on L4T below r39."""
    other_processes: tuple[OtherProcess, ...] = ()
    """The largest processes other than vedette and its engine, largest first; in a memory cgroup, those inside."""
    gpu_processes: tuple[GpuProcess, ...] = ()
    """Largest first; also empty where the driver does not list them, or only to root."""
    gpu_stale_bytes: int | None = None
    """GPU memory in use that no living process holds."""
    desktop_bytes: int | None = None
    """Memory of a graphical session and its login; 0 where none runs."""
    disk_free_bytes: int | None = None
    cache_free_bytes: int | None = None
    """On the disk with the engine's caches."""
    storage: StorageKind | None = None
    """Of the disk with models and engines."""
    swap_areas: tuple[SwapArea, ...] = ()
    power_mode: str | None = None
    power_modes: tuple[PowerMode, ...] = ()
    """Power modes of a Jetson, in the order of its configuration."""
    clocks_locked: bool | None = None
    """A Jetson's GPU stays at its highest clock, as jetson_clocks sets it, instead of following the load."""
    cpu_kept_slow: bool | None = None
    """The processor's governor keeps it at its lowest clock."""
    assumed: bool = False
