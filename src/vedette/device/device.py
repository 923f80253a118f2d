"""What is known of the machine. `None` is unknown, never a guess."""

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
    """As the kernel has it, without what does not print."""
    pid: int
    resident_bytes: int
    """Without the files that it has mapped: those can be taken back, and count as available."""
    run_by: str | None = None
    """Container engine and container (`docker 3f2a1b4c5d6e`) or the system's service that started it."""


@dataclass(frozen=True)
class GpuProcess:
    """A living process that holds memory on the GPU and is neither vedette nor its engine."""

    name: str
    pid: int
    gpu_bytes: int
    """On unified memory this RAM is not part of what /proc calls resident."""
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
    """One of the modes that a Jetson's nvpmodel knows."""

    number: int
    name: str
    gpu_max_hz: int | None
    """None where the mode does not hold the clock down."""
    memory_max_hz: int | None


@dataclass(frozen=True)
class Device:
    """Facts of one machine, read once (`assumed=False`) or taken from the catalogue (`assumed=True`).

    For a GPU with memory of its own, the `memory_*` fields speak of the GPU; on unified memory and on a
    CPU they speak of the RAM that vedette may use (a memory cgroup's limit counts as the total).
    """

    name: str
    family: Family
    machine: str
    """Instruction set as `uname -m` prints it: x86_64, aarch64."""
    memory_total_bytes: int
    memory_available_bytes: int
    unified_memory: bool
    """CPU and GPU (if any) share the memory: engine processes and page cache compete with the model."""
    cpu_count: int
    gpu_name: str | None = None
    compute_capability: tuple[int, int] | None = None
    """(8, 7) for sm_87; None without an NVIDIA GPU or where it is unknown."""
    memory_bandwidth_bytes_per_s: int | None = None
    peak_flops_per_s: float | None = None
    """Multiplications and additions of 16-bit numbers on the GPU's matrix units, without sparsity."""
    memory_limited: bool = False
    """The total is a memory cgroup's limit: nobody outside the cgroup takes of it."""
    l4t_version: str | None = None
    jetpack_version: str | None = None
    driver_version: str | None = None
    host_memory_available_bytes: int | None = None
    """RAM beside a discrete GPU's own memory; None on unified memory and CPU, where it is the same RAM."""
    swap_total_bytes: int | None = None
    """Never counted as memory for the model."""
    swap_free_bytes: int | None = None
    swap_zram_bytes: int | None = None
    """How much of the swap is no disk but RAM, compressed."""
    page_cache_bytes: int | None = None
    """Of the RAM that is available, what holds files now and has to be taken back first."""
    page_cache_counts_as_used: bool = False
    """For CUDA's call that says how much memory is free, as on L4T below r39."""
    other_processes: tuple[OtherProcess, ...] = ()
    """The largest that are neither vedette nor its engine, the largest first; in a memory cgroup, those inside."""
    gpu_processes: tuple[GpuProcess, ...] = ()
    """The largest first; empty as well where the driver does not tell, or only root."""
    gpu_stale_bytes: int | None = None
    """Memory in use on the GPU that no living process explains."""
    desktop_bytes: int | None = None
    """What a graphical session and its login hold; 0 where none runs."""
    disk_free_bytes: int | None = None
    cache_free_bytes: int | None = None
    """On the disk that the engine's caches lie on."""
    storage: StorageKind | None = None
    """What models and engines lie on."""
    swap_areas: tuple[SwapArea, ...] = ()
    power_mode: str | None = None
    power_modes: tuple[PowerMode, ...] = ()
    """Those of a Jetson, in the order of its configuration."""
    clocks_locked: bool | None = None
    """A Jetson's GPU stays at its highest clock, as jetson_clocks leaves it, instead of following the load."""
    cpu_kept_slow: bool | None = None
    """The processor's governor holds it at its lowest clock."""
    assumed: bool = False
