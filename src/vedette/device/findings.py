"""What stands in an engine's way just before it starts, each in a sentence with what to do about it.

Nothing here stops a start: what cannot be read is unknown, and of the unknown nothing is said.
"""

import asyncio
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vedette.device.device import Device, Family, GpuProcess, OtherProcess, PowerMode, StorageKind
from vedette.device.processes import belongs_to_desktop
from vedette.units import GIB, MIB, size

LEAST_BYTES = 256 * MIB
"""Memory below this is not worth a word."""
LEAST_SHARE = 0.05
"""A process that holds less of the memory is not worth a word, unless it is an engine."""
LEAST_DISK_BYTES = GIB
SMALL_BOARD_BYTES = 8 * GIB
"""Up to here a desktop session is a model's memory."""

_SLOW: dict[StorageKind, str] = {
    "sd": "an SD card",
    "emmc": "eMMC",
    "usb": "a USB drive",
    "network": "a network file system",
}
_RATES: dict[StorageKind, tuple[str, float]] = {"sd": ("about", 67e6), "emmc": ("at least", 400e6)}
"""Bytes a second: the card of an Orin Nano developer kit as measured with hdparm (an NVMe drive there: 1,362 MB/s),
and the most that eMMC's connection carries (HS400)."""

_ENGINES = (
    (re.compile(r"VLLM::|vllm$"), "vLLM"),
    (re.compile(r"ollama"), "Ollama"),
    (re.compile(r"llama-(server|cli)|llama_server"), "llama.cpp"),
    (re.compile(r"sglang"), "SGLang"),
    (re.compile(r"tritonserver"), "Triton"),
)
"""Engines of other tools, by how the names of their processes begin."""


@dataclass(frozen=True)
class Finding:
    """One thing that a person may want to change; `code` is stable and for programs."""

    code: str
    sentence: str
    hint: str | None
    """What to do next; None where nothing is left to do."""
    size_bytes: int | None = None

    def as_event(self) -> dict[str, object]:
        """The note that is told of it."""
        event: dict[str, object] = {"event": "note", "code": self.code, "sentence": self.sentence, "hint": self.hint}
        return event if self.size_bytes is None else {**event, "size_bytes": self.size_bytes}


async def check(
    device: Device, weights_bytes: int | None = None, needed_bytes: int | None = None, root: Path = Path("/")
) -> list[Finding]:
    """Lets go of the page cache where it stands in the way, and says that and all that is found; never fails.

    weights_bytes: of the model, for how long reading them takes.
    needed_bytes: what the plan takes in all: where that is free beside the page cache, the cache stays, for it may
    hold the weights. None takes the cache to be in the way.
    """
    found = list(findings(device, weights_bytes))
    if page_cache_in_the_way(device, needed_bytes):
        found.insert(0, await asyncio.to_thread(_drop_page_cache, device, root))
    return found


def findings(device: Device, weights_bytes: int | None = None) -> tuple[Finding, ...]:
    """What the facts tell, the most pressing first. Pure."""
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
    """Whether CUDA would refuse memory because files are cached in it: only below L4T r39."""
    cache_bytes = device.page_cache_bytes
    if not device.page_cache_counts_as_used or device.assumed or cache_bytes is None or cache_bytes < LEAST_BYTES:
        return False
    return needed_bytes is None or device.memory_available_bytes - cache_bytes < needed_bytes


def _drop_page_cache(device: Device, root: Path) -> Finding:
    """Lets go of it if that is permitted; else says how."""
    held_bytes = device.page_cache_bytes or 0
    before = _read_free(root)
    try:
        # 3 and not 1: what the GPU's driver keeps of dead processes goes with the caches of the kernel's own objects.
        (root / "proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
    except OSError:
        return Finding(
            "page_cache",
            f"{size(held_bytes)} of page cache count as used for CUDA on L4T {device.l4t_version}: what would fit may "
            "be refused.",
            "Let go of it: `sync; echo 3 | sudo tee /proc/sys/vm/drop_caches`.",
            held_bytes,
        )
    after = _read_free(root)
    freed = held_bytes if before is None or after is None else max(0, after - before)
    sentence = f"Let go of {size(freed)} of page cache, which CUDA counts as used on L4T {device.l4t_version}."
    return Finding("page_cache_dropped", sentence, None, freed)


def _read_free(root: Path) -> int | None:
    """MemFree, which is what CUDA sees there."""
    try:
        found = re.search(r"^MemFree:\s+(\d+) kB$", (root / "proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _stale_memory(device: Device) -> Iterator[Finding]:
    stale = device.gpu_stale_bytes
    if stale is None or stale < LEAST_BYTES:
        return
    if device.family is Family.JETSON:
        hint = "`sync; echo 3 | sudo tee /proc/sys/vm/drop_caches` gives it back, else a restart of the board."
    else:
        hint = "See who still has the GPU open (`sudo fuser -v /dev/nvidia*`) and end that, else restart the machine."
    yield Finding("stale_gpu_memory", f"{size(stale)} of GPU memory belong to no living process.", hint, stale)


@dataclass(frozen=True)
class _Competitor:
    name: str
    pids: tuple[int, ...]
    held_bytes: int
    run_by: str | None

    @property
    def told(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.pids))}) {size(self.held_bytes)}"

    @property
    def way_to_stop(self) -> str:
        if self.run_by is None:
            return f"kill {' '.join(map(str, self.pids))}"
        if self.run_by.endswith(".service"):
            return f"sudo systemctl stop {self.run_by}"
        program, container = self.run_by.split()
        return f"{program} stop {container}"


def _competitors(device: Device) -> Iterator[Finding]:
    """Engines of other tools one by one, and all else that holds much together."""
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
        sentence = f"{engine.told} runs here too: the model gets what it leaves of memory and speed."
        yield Finding("other_engine", sentence, f"Stop it with `{engine.way_to_stop}`.", engine.held_bytes)
    large = [each for each in others if each.held_bytes >= LEAST_SHARE * device.memory_total_bytes]
    if large:
        told = ", ".join(each.told for each in large)
        sentence = f"{told} {'holds' if len(large) == 1 else 'hold'} memory that the model could use."
        hint = f"Stop what is not needed: {', '.join(f'`{each.way_to_stop}`' for each in large)}."
        yield Finding("competing_processes", sentence, hint, sum(each.held_bytes for each in large))


def _held(device: Device) -> list[_Competitor]:
    """Who holds the memory that the model needs, the largest first: the GPU's own, or RAM that both share."""
    by_pid: dict[int, tuple[OtherProcess | GpuProcess, int]] = {}
    for each in device.gpu_processes:
        by_pid[each.pid] = (each, each.gpu_bytes)
    for process in device.other_processes if device.unified_memory else ():
        by_pid[process.pid] = (process, by_pid.get(process.pid, (process, 0))[1] + process.resident_bytes)
    told_apart = _desktop_matters(device)
    found = [
        _Competitor(each.name, (pid,), size, each.run_by)
        for pid, (each, size) in by_pid.items()
        if not (told_apart and belongs_to_desktop(each.name))
    ]
    return sorted(found, key=lambda each: -each.held_bytes)


def _desktop_matters(device: Device) -> bool:
    small = device.family is Family.JETSON and device.memory_total_bytes <= SMALL_BOARD_BYTES
    return small and (device.desktop_bytes or 0) >= LEAST_BYTES


def _desktop(device: Device) -> Iterator[Finding]:
    if _desktop_matters(device):
        sentence = f"The desktop holds about {size(device.desktop_bytes or 0)} of this board's memory."
        hint = "Log in over SSH and run `sudo init 3`; `sudo systemctl set-default multi-user.target` keeps it off."
        yield Finding("desktop", sentence, hint, device.desktop_bytes)


def _disk(device: Device) -> Iterator[Finding]:
    places = (
        ("models and engines", device.disk_free_bytes),
        ("what engines keep between starts", device.cache_free_bytes),
    )
    for what, free in places:
        if free is not None and free < LEAST_DISK_BYTES:
            sentence = f"Only {size(free)} are free on the disk with {what}."
            yield Finding("disk_space", sentence, "Free some, or set VEDETTE_HOME to a larger disk.", free)
            return  # mostly it is the same disk


def _slow_storage(device: Device, weights_bytes: int | None) -> Iterator[Finding]:
    if device.storage is None or device.storage == "nvme":
        return
    sentence = f"Models lie on {_SLOW[device.storage]}"
    if weights_bytes is not None and device.storage in _RATES:
        how, rate = _RATES[device.storage]
        sentence += f": reading {size(weights_bytes)} of weights takes {how} {weights_bytes / rate:.0f} s."
    else:
        sentence += ", which is slower than an NVMe drive."
    yield Finding("slow_storage", sentence, "Set VEDETTE_HOME to a directory on an NVMe drive, where there is one.")


def _slow_swap(device: Device) -> Iterator[Finding]:
    for area in device.swap_areas if device.unified_memory else ():
        if area.storage in ("sd", "usb"):
            where = _SLOW[area.storage]
            sentence = f"{size(area.total_bytes)} of swap lie on {where}: short of memory, everything waits for it."
            yield Finding(
                "slow_swap", sentence, f"Do without it: `sudo swapoff {shlex.quote(area.path)}`.", area.total_bytes
            )


def _power(device: Device) -> Iterator[Finding]:
    fastest = _fastest(device.power_modes)
    present = next((mode for mode in device.power_modes if mode.name == device.power_mode), None)
    if fastest is not None and present is not None and present != fastest:
        held = [
            f"the {what} at {hz / 1e6:,.0f} MHz"
            for what, hz in (("GPU", present.gpu_max_hz), ("memory", present.memory_max_hz))
            if hz is not None
        ]
        sentence = f"The board runs in power mode {present.name}, not {fastest.name}"
        sentence += f", and so {' and '.join(held)} at the most." if held else "."
        hint = f"With power and cooling for it: `sudo nvpmodel -m {fastest.number}`, then `sudo jetson_clocks`."
        yield Finding("power_mode", sentence, hint)
    elif device.clocks_locked is False:
        sentence = "The clocks of GPU and memory follow the load, and answers begin while they are low."
        yield Finding("clocks", sentence, "`sudo jetson_clocks` keeps them high until the next start of the board.")
    if device.cpu_kept_slow:
        sentence = "The processor's governor holds it at its lowest clock."
        yield Finding("cpu_governor", sentence, "Change it: `sudo cpupower frequency-set -g performance`.")


def _fastest(modes: tuple[PowerMode, ...]) -> PowerMode | None:
    """MAXN_SUPER, else MAXN, else the most watts in a name (`25W`, `MODE_30W`); their numbers are in no order."""
    ranked = [(rank, mode) for mode in modes for rank in [_rank(mode.name)] if rank is not None]
    return max(ranked, key=lambda each: each[0])[1] if ranked else None


def _rank(name: str) -> tuple[int, int] | None:
    if name in ("MAXN", "MAXN_SUPER"):
        return 1, len(name)
    watts = re.fullmatch(r"(?:MODE_)?(\d+)W.*", name)
    return (0, int(watts[1])) if watts else None
