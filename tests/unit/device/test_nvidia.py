"""NVML as drivers really answer it: whole, partial (unified memory), broken.

No GPU stands in the test machines, so a small stand-in for the pynvml module says what a driver would.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from vedette.device.gpu_memory import GpuUse, Holding
from vedette.device.nvidia import Gpu, read_gpu_with

GIB = 1024**3


class NVMLError(Exception):
    pass


def refuse(*_: object) -> Any:
    raise NVMLError("Not Supported")


def memory(version: int | None) -> SimpleNamespace:
    """In version 1 what the driver keeps for itself counts as used."""
    if version is None:
        return SimpleNamespace(total=80 * GIB, free=76 * GIB, used=4 * GIB)
    return SimpleNamespace(total=80 * GIB, free=76 * GIB, used=3 * GIB, reserved=GIB)


def process(pid: int, held: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=held)


def driver(**answers: Any) -> SimpleNamespace:
    """A driver of one H100; keyword arguments replace single functions."""
    functions: dict[str, Any] = {
        "NVMLError": NVMLError,
        "NVML_CLOCK_MEM": 2,
        "NVML_CLOCK_SM": 1,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: f"gpu{index}",
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlMemory_v2": 2,
        "nvmlDeviceGetMemoryInfo": lambda _, version=None: memory(version),
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [],
        "nvmlDeviceGetGraphicsRunningProcesses": lambda _: [],
        "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
        "nvmlDeviceGetName": lambda handle: f"NVIDIA H100 {handle}",
        "nvmlSystemGetDriverVersion": lambda: b"580.95.05",
        "nvmlDeviceGetMemoryBusWidth": lambda _: 5120,
        "nvmlDeviceGetMaxClockInfo": lambda _, clock: {1: 1980, 2: 2619}[clock],
        "nvmlDeviceGetNumGpuCores": lambda _: 132 * 128,
    }
    return SimpleNamespace(**(functions | answers))


@pytest.mark.parametrize(
    ("capability", "cores", "clock_mhz", "published_tflops"),
    [
        ((7, 5), 2560, 1590, 65),  # T4
        ((8, 0), 6912, 1410, 312),  # A100
        ((8, 6), 10496, 1695, 142),  # RTX 3090
        ((8, 9), 16384, 2520, 330),  # RTX 4090
        ((9, 0), 16896, 1830, 989),  # H100 SXM
        ((10, 0), 18944, 1850, 2250),  # B200
        ((10, 3), 20480, 1920, 2500),  # B300
        ((12, 0), 21760, 2407, 419),  # RTX 5090
        ((12, 1), 6144, 2530, 125),  # GB10
    ],
)
def test_the_peak_is_the_one_of_the_datasheet(
    capability: tuple[int, int], cores: int, clock_mhz: int, published_tflops: float
) -> None:
    """Dense 16-bit figures at about the boost clock. A wrong factor would be wrong by two."""
    answers: dict[str, Any] = {
        "nvmlDeviceGetCudaComputeCapability": lambda _: capability,
        "nvmlDeviceGetNumGpuCores": lambda _: cores,
        "nvmlDeviceGetMaxClockInfo": lambda _, clock: clock_mhz,
    }
    gpu = read_gpu_with(driver(**answers), visible=None)
    assert gpu is not None
    assert gpu.peak_flops_per_s == pytest.approx(published_tflops * 1e12, rel=0.03)


def test_a_whole_driver() -> None:
    assert read_gpu_with(driver(), visible=None) == Gpu(
        name="NVIDIA H100 gpu0",
        compute_capability=(9, 0),
        memory_total_bytes=80 * GIB,
        memory_free_bytes=76 * GIB,
        memory_bandwidth_bytes_per_s=3_352_320_000_000,
        peak_flops_per_s=132 * 128 * 1980e6 * 32,
        driver_version="580.95.05",
        use=GpuUse((), 3 * GIB),
    )


def test_a_process_that_computes_and_draws_is_counted_once() -> None:
    listings = {
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [process(700, 2 * GIB), process(701, GIB)],
        "nvmlDeviceGetGraphicsRunningProcesses": lambda _: [process(701, GIB), process(900, None)],
    }
    gpu = read_gpu_with(driver(**listings), visible=None)
    assert gpu is not None
    assert gpu.use == GpuUse((Holding(700, 2 * GIB), Holding(701, GIB), Holding(900, None)), 3 * GIB)


def test_an_older_driver_does_not_tell_what_is_its_own() -> None:
    old = driver()
    del old.nvmlMemory_v2
    gpu = read_gpu_with(old, visible=None)
    assert gpu is not None
    assert gpu.use == GpuUse((), None)


def test_without_process_lists_the_use_is_unknown() -> None:
    gpu = read_gpu_with(driver(nvmlDeviceGetComputeRunningProcesses=refuse), visible=None)
    assert gpu is not None
    assert gpu.use is None


def test_visible_devices_choose_the_gpu() -> None:
    gpu = read_gpu_with(driver(), visible="3,1")
    assert gpu is not None
    assert gpu.name.endswith("gpu3")
    gpu = read_gpu_with(driver(), visible="GPU-8f2a")
    assert gpu is not None
    assert gpu.name.endswith("GPU-8f2a")
    assert read_gpu_with(driver(), visible="") is None


def test_unified_memory_has_no_memory_of_its_own() -> None:
    gpu = read_gpu_with(driver(nvmlDeviceGetMemoryInfo=refuse, nvmlDeviceGetMemoryBusWidth=refuse), visible=None)
    assert gpu is not None
    assert gpu.memory_total_bytes is None
    assert gpu.memory_bandwidth_bytes_per_s is None
    assert gpu.compute_capability == (9, 0)


def test_a_broken_driver_is_no_gpu() -> None:
    assert read_gpu_with(driver(nvmlInit=refuse), visible=None) is None
    assert read_gpu_with(driver(nvmlDeviceGetHandleByIndex=refuse), visible=None) is None
    assert read_gpu_with(driver(nvmlDeviceGetCount=lambda: 0), visible=None) is None


def test_a_driver_that_answers_nothing_but_its_presence() -> None:
    silent = driver(
        **{name: refuse for name in vars(driver()) if name.startswith("nvmlDeviceGet")},
        nvmlSystemGetDriverVersion=refuse,
        nvmlShutdown=refuse,
    )
    silent.nvmlDeviceGetCount = lambda: 1
    silent.nvmlDeviceGetHandleByIndex = lambda index: index
    assert read_gpu_with(silent, visible=None) == Gpu("NVIDIA GPU", None, None, None, None, None, None)


@pytest.mark.parametrize("answer", [None, "many", b"\xff", -5, 2**64 - 1, 1.5, [], {}, [None, 7], True, object()])
def test_an_answer_of_another_kind_is_unknown(answer: object) -> None:
    functions = [name for name in vars(driver()) if name.startswith(("nvmlDeviceGet", "nvmlSystem"))]
    lists = {name for name in functions if name.endswith("ByIndex") or name == "nvmlDeviceGetCount"}
    gpu = read_gpu_with(driver(**{name: lambda *_: answer for name in functions if name not in lists}), None)
    assert gpu is not None
    assert (gpu.memory_total_bytes, gpu.memory_free_bytes, gpu.compute_capability) == (None, None, None)
    assert (gpu.memory_bandwidth_bytes_per_s, gpu.peak_flops_per_s) == (None, None)


def test_a_name_is_shown_as_text() -> None:
    gpu = read_gpu_with(driver(nvmlDeviceGetName=lambda _: "N\nV" + "x" * 1000), None)
    assert gpu is not None
    assert gpu.name.startswith("N V")
    assert len(gpu.name) <= 100


@pytest.mark.parametrize("visible", ["\u00b2", "9" * 5000, "", "x"])
def test_visible_devices_that_name_none_are_no_gpu(visible: str) -> None:
    assert read_gpu_with(driver(nvmlDeviceGetHandleByIndex=refuse), visible) is None
