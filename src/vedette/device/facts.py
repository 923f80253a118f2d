"""What is known of the machine. `None` is unknown, never a guess."""

from dataclasses import dataclass
from enum import Enum


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
    """The largest that are neither vedette nor its engine, the largest first."""
    disk_free_bytes: int | None = None
    power_mode: str | None = None
    assumed: bool = False
