"""Problems of the machine that slow an engine down or stop its start, each with the next step.

No finding stops a start. There is no finding about facts that cannot be read.
"""

import asyncio
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vedette.device.device import Device, Family, GpuProcess, OtherProcess, PowerMode, StorageKind
from vedette.device.processes import VEDETTE, belongs_to_desktop
from vedette.language.message import Message, hint_of, say
from vedette.units import GIB, MIB

MIN_BYTES = 256 * MIB
"""Less memory is not reported."""
MIN_SHARE = 0.05
"""A process with a smaller share of the memory is not reported, unless it is an engine."""
MIN_DISK_BYTES = GIB
SMALL_BOARD_BYTES = 8 * GIB
"""On boards up to this size a desktop session takes as much memory as a model needs."""

_SLOW: dict[StorageKind, Message] = {
    "sd": Message("device.sd_card"),
    "emmc": Message("device.emmc"),
    "usb": Message("device.usb_drive"),
    "network": Message("device.network_files"),
}
SD_CARD_BYTES_PER_S = 67e6
"""The card of an Orin Nano developer kit, measured with hdparm (an NVMe drive there: 1,362 MB/s)."""
MAX_EMMC_BYTES_PER_S = 400e6
"""The limit of the eMMC interface (HS400)."""

_ENGINES = (
    (re.compile(r"VLLM::|vllm$"), "vLLM"),
    (re.compile(r"ollama"), "Ollama"),
    (re.compile(r"llama-(server|cli)|llama_server"), "llama.cpp"),
    (re.compile(r"sglang"), "SGLang"),
    (re.compile(r"tritonserver"), "Triton"),
)
"""Engines of other tools, by the beginning of their process names."""


@dataclass(frozen=True)
class Finding:
    """One problem that a person may want to fix; `code` is stable and for programs."""

    code: str
    message: Message
    size_bytes: int | None = None

    @property
    def sentence(self) -> str:
        """The problem, in English."""
        return say(self.message)

    @property
    def hint(self) -> str | None:
        """The next step, in English; None where none is needed."""
        return hint_of(self.message)


async def check(
    device: Device, weights_bytes: int | None = None, needed_bytes: int | None = None, root: Path = Path("/")
) -> list[Finding]:
    """Drop the page cache if it would stop the start, and return all findings; never fails.

    weights_bytes: of the model, to tell how long it takes to read them.
    needed_bytes: the total of the plan. If that much is free without dropping the page cache, the cache stays: it may
    hold the weights. With None the cache is dropped.
    """
    found = list(findings(device, weights_bytes))
    if page_cache_in_the_way(device, needed_bytes):
        found.insert(0, await asyncio.to_thread(_drop_page_cache, device, root))
    return found


def findings(device: Device, weights_bytes: int | None = None) -> tuple[Finding, ...]:
    """Return the findings about a device, the most urgent first. Pure."""
    return (
        *_stale_memory(device),
        *_competitors(device),
        *_desktop(device),
        *_disk(device),
        *_slow_storage(device, weights_bytes),
        *_slow_swap(device),
        *_power(device),
    )


def page_cache_in_the_way(device: Device, needed_bytes: int | None) -> bool:
    """Return whether CUDA would refuse memory that caches files: only below L4T r39."""
    cache_bytes = device.page_cache_bytes
    if not device.page_cache_counts_as_used or device.assumed or cache_bytes is None or cache_bytes < MIN_BYTES:
        return False
    return needed_bytes is None or device.memory_available_bytes - cache_bytes < needed_bytes


def _drop_page_cache(device: Device, root: Path) -> Finding:
    """Drop the page cache if this user may; else tell how to."""
    held_bytes = device.page_cache_bytes or 0
    before = _read_free(root)
    try:
        # 3 and not 1: with its object caches the kernel also frees what the GPU's driver keeps of dead processes.
        (root / "proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
    except OSError:
        message = Message("device.page_cache", held_bytes=held_bytes, l4t_version=device.l4t_version)
        return Finding("page_cache", message, held_bytes)
    after = _read_free(root)
    freed = held_bytes if before is None or after is None else max(0, after - before)
    message = Message("device.page_cache_dropped", freed_bytes=freed, l4t_version=device.l4t_version)
    return Finding("page_cache_dropped", message, freed)


def _read_free(root: Path) -> int | None:
    """Read MemFree, which is what CUDA reports as free on these boards."""
    try:
        found = re.search(r"^MemFree:\s+(\d+) kB$", (root / "proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _stale_memory(device: Device) -> Iterator[Finding]:
    stale = device.gpu_stale_bytes
    if stale is None or stale < MIN_BYTES:
        return
    if device.family is Family.JETSON:
        message = Message("device.stale_board_memory", stale_bytes=stale)
    else:
        message = Message("device.stale_gpu_memory", stale_bytes=stale)
    yield Finding("stale_gpu_memory", message, stale)


@dataclass(frozen=True)
class _Competitor:
    name: str
    pids: tuple[int, ...]
    held_bytes: int
    run_by: str | None

    @property
    def described(self) -> Message:
        pids = tuple(map(str, self.pids))
        return Message("device.process", name=self.name, pids=pids, held_bytes=self.held_bytes)

    @property
    def stop_command(self) -> str:
        if self.run_by is None:
            return f"kill {' '.join(map(str, self.pids))}"
        if self.run_by.endswith(".service"):
            return f"sudo systemctl stop {self.run_by}"
        if self.run_by.startswith(VEDETTE):
            return _down_command(Path(self.run_by.removeprefix(VEDETTE)))
        program, container = self.run_by.split()
        return f"{program} stop {container}"


def _down_command(state: Path) -> str:
    """Return the command that stops the vedette with this state directory (settings/home.py)."""
    if state.name == "run":
        return f"VEDETTE_HOME={shlex.quote(str(state.parent))} vedette down"
    if state.parts[-3:] == (".local", "state", "vedette"):
        return "vedette down"
    return f"XDG_STATE_HOME={shlex.quote(str(state.parent))} vedette down"


def _competitors(device: Device) -> Iterator[Finding]:
    """Report each engine of another tool alone, and all other large processes together."""
    held = _held(device)
    engines: dict[tuple[str, str | None], _Competitor] = {}
    others = []
    for each in held:
        tool = next((tool for pattern, tool in _ENGINES if pattern.match(each.name)), None)
        if tool is None:
            others.append(each)
            continue
        known = engines.get((tool, each.run_by), _Competitor(tool, (), 0, each.run_by))
        engines[tool, each.run_by] = _Competitor(
            tool, (*known.pids, *each.pids), known.held_bytes + each.held_bytes, each.run_by
        )
    for engine in engines.values():
        message = Message("device.other_engine", engine=engine.described, stop_command=engine.stop_command)
        yield Finding("other_engine", message, engine.held_bytes)
    large = [each for each in others if each.held_bytes >= MIN_SHARE * device.memory_total_bytes]
    if large:
        processes = tuple(each.described for each in large)
        commands = tuple(f"`{each.stop_command}`" for each in large)
        if len(large) == 1:
            message = Message("device.competing_process", processes=processes, stop_commands=commands)
        else:
            message = Message("device.competing_processes", processes=processes, stop_commands=commands)
        yield Finding("competing_processes", message, sum(each.held_bytes for each in large))


def _held(device: Device) -> list[_Competitor]:
    """List the holders of the memory that the model needs (the GPU's, or RAM that both share), largest first."""
    by_pid: dict[int, tuple[OtherProcess | GpuProcess, int]] = {}
    for each in device.gpu_processes:
        by_pid[each.pid] = (each, each.gpu_bytes)
    for process in device.other_processes if device.unified_memory else ():
        by_pid[process.pid] = (process, by_pid.get(process.pid, (process, 0))[1] + process.resident_bytes)
    desktop_apart = _desktop_matters(device)
    found = [
        _Competitor(each.name, (pid,), held_bytes, each.run_by)
        for pid, (each, held_bytes) in by_pid.items()
        if not (desktop_apart and belongs_to_desktop(each.name))
    ]
    return sorted(found, key=lambda each: -each.held_bytes)


def _desktop_matters(device: Device) -> bool:
    small = device.family is Family.JETSON and device.memory_total_bytes <= SMALL_BOARD_BYTES
    return small and (device.desktop_bytes or 0) >= MIN_BYTES


def _desktop(device: Device) -> Iterator[Finding]:
    if _desktop_matters(device):
        yield Finding("desktop", Message("device.desktop", held_bytes=device.desktop_bytes), device.desktop_bytes)


def _disk(device: Device) -> Iterator[Finding]:
    """Report one full disk at most: models and caches are usually on the same disk."""
    for_models, for_caches = device.disk_free_bytes, device.cache_free_bytes
    if for_models is not None and for_models < MIN_DISK_BYTES:
        yield Finding("disk_space", Message("device.models_disk_full", free_bytes=for_models), for_models)
    elif for_caches is not None and for_caches < MIN_DISK_BYTES:
        yield Finding("disk_space", Message("device.caches_disk_full", free_bytes=for_caches), for_caches)


def _slow_storage(device: Device, weights_bytes: int | None) -> Iterator[Finding]:
    if device.storage is None or device.storage == "nvme":
        return
    storage = _SLOW[device.storage]
    if weights_bytes is not None and device.storage == "sd":
        read_s = weights_bytes / SD_CARD_BYTES_PER_S
        message = Message("device.slow_storage_about", storage=storage, weights_bytes=weights_bytes, read_s=read_s)
    elif weights_bytes is not None and device.storage == "emmc":
        read_s = weights_bytes / MAX_EMMC_BYTES_PER_S
        message = Message("device.slow_storage_at_least", storage=storage, weights_bytes=weights_bytes, read_s=read_s)
    else:
        message = Message("device.slow_storage", storage=storage)
    yield Finding("slow_storage", message)


def _slow_swap(device: Device) -> Iterator[Finding]:
    for area in device.swap_areas if device.unified_memory else ():
        if area.storage in ("sd", "usb"):
            storage, path = _SLOW[area.storage], shlex.quote(area.path)
            message = Message("device.slow_swap", swap_bytes=area.total_bytes, storage=storage, path=path)
            yield Finding("slow_swap", message, area.total_bytes)


def _power(device: Device) -> Iterator[Finding]:
    fastest = _fastest(device.power_modes)
    present = next((mode for mode in device.power_modes if mode.name == device.power_mode), None)
    if fastest is not None and present is not None and present != fastest:
        yield Finding("power_mode", _slower_mode(present, fastest))
    elif device.clocks_locked is False:
        yield Finding("clocks", Message("device.clocks"))
    if device.cpu_kept_slow:
        yield Finding("cpu_governor", Message("device.cpu_governor"))


def _slower_mode(present: PowerMode, fastest: PowerMode) -> Message:
    limits = []
    if present.gpu_max_hz is not None:
        limits.append(Message("device.gpu_clock", clock_mhz=present.gpu_max_hz / 1e6))
    if present.memory_max_hz is not None:
        limits.append(Message("device.memory_clock", clock_mhz=present.memory_max_hz / 1e6))
    if not limits:
        return Message("device.power_mode", present=present.name, fastest=fastest.name, mode=fastest.number)
    return Message(
        "device.power_mode_limits",
        present=present.name,
        fastest=fastest.name,
        mode=fastest.number,
        limits=tuple(limits),
    )


def _fastest(modes: tuple[PowerMode, ...]) -> PowerMode | None:
    """Return MAXN_SUPER, else MAXN, else the most watts in a name (`25W`, `MODE_30W`); mode numbers have no order."""
    ranked = [(rank, mode) for mode in modes for rank in [_rank(mode.name)] if rank is not None]
    return max(ranked, key=lambda each: each[0])[1] if ranked else None


def _rank(name: str) -> tuple[int, int] | None:
    if name in ("MAXN", "MAXN_SUPER"):
        return 1, len(name)
    watts = re.fullmatch(r"(?:MODE_)?(\d+)W.*", name)
    return (0, int(watts[1])) if watts else None
