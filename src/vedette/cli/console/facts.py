"""The facts of a device as a person reads them."""

from collections.abc import Sequence
from typing import Any

from vedette.device.device import Device, GpuProcess, OtherProcess, SwapArea
from vedette.language.columns import columns, pad
from vedette.language.message import Language, Message, say

_LABELS = {
    "family": Message("cli.fact.family"),
    "machine": Message("cli.fact.machine"),
    "memory_total_bytes": Message("cli.fact.memory_total"),
    "memory_available_bytes": Message("cli.fact.memory_available"),
    "unified_memory": Message("cli.fact.unified_memory"),
    "cpu_count": Message("cli.fact.cpu_count"),
    "gpu_name": Message("cli.fact.gpu_name"),
    "compute_capability": Message("cli.fact.compute_capability"),
    "memory_bandwidth_bytes_per_s": Message("cli.fact.memory_bandwidth"),
    "peak_flops_per_s": Message("cli.fact.peak_flops"),
    "memory_limited": Message("cli.fact.memory_limited"),
    "l4t_version": Message("cli.fact.l4t_version"),
    "jetpack_version": Message("cli.fact.jetpack_version"),
    "driver_version": Message("cli.fact.driver_version"),
    "host_memory_available_bytes": Message("cli.fact.host_memory_available"),
    "swap_total_bytes": Message("cli.fact.swap_total"),
    "swap_free_bytes": Message("cli.fact.swap_free"),
    "swap_zram_bytes": Message("cli.fact.swap_zram"),
    "page_cache_bytes": Message("cli.fact.page_cache"),
    "page_cache_counts_as_used": Message("cli.fact.page_cache_counts_as_used"),
    "other_processes": Message("cli.fact.other_processes"),
    "gpu_processes": Message("cli.fact.gpu_processes"),
    "gpu_stale_bytes": Message("cli.fact.gpu_stale"),
    "desktop_bytes": Message("cli.fact.desktop"),
    "disk_free_bytes": Message("cli.fact.disk_free"),
    "cache_free_bytes": Message("cli.fact.cache_free"),
    "storage": Message("cli.fact.storage"),
    "swap_areas": Message("cli.fact.swap_areas"),
    "power_mode": Message("cli.fact.power_mode"),
    "power_modes": Message("cli.fact.power_modes"),
    "clocks_locked": Message("cli.fact.clocks_locked"),
    "cpu_kept_slow": Message("cli.fact.cpu_kept_slow"),
}


def device_message(device: Device) -> Message:
    """A device in one line."""
    parts: list[str | Message] = [device.name]
    if device.gpu_name and device.gpu_name != device.name:
        parts.append(device.gpu_name)
    if device.l4t_version:
        jetpack = device.jetpack_version or Message("cli.fact.unknown")
        parts.append(Message("cli.device.l4t", l4t_version=device.l4t_version, jetpack_version=jetpack))
    parts.append(Message("cli.device.cores", cores=device.cpu_count))
    available_bytes, total_bytes = device.memory_available_bytes, device.memory_total_bytes
    parts.append(Message("cli.device.memory", available_bytes=available_bytes, total_bytes=total_bytes))
    return dotted(parts)


def dotted(parts: Sequence[str | Message]) -> Message:
    """The parts with a dot between each two."""
    first, *others = parts
    message = first if isinstance(first, Message) else Message("errors.verbatim", sentence=first, hint="")
    for each in others:
        message = Message("cli.dotted", first=message, then=each)
    return message


def fact_lines(device: Device, language: Language) -> list[str]:
    """All that is known of a device, a line each."""
    width = max(columns(say(label, language)) for label in _LABELS.values()) + 2
    return [
        f"  {pad(say(label, language), width)}{say(_shown(name, getattr(device, name)), language)}"
        for name, label in _LABELS.items()
    ]


def _shown(name: str, value: Any) -> Message:
    if value is None:
        return Message("cli.fact.unknown")
    if isinstance(value, bool):
        return Message("cli.fact.yes") if value else Message("cli.fact.no")
    if name.endswith("_bytes"):
        return Message("cli.fact.size", held_bytes=value)
    if name == "memory_bandwidth_bytes_per_s":
        return Message("cli.fact.billions_of_bytes", billions=value / 1e9)
    if name == "peak_flops_per_s":
        return Message("cli.fact.trillions", trillions=value / 1e12)
    if name == "compute_capability":
        return Message("errors.verbatim", sentence=".".join(map(str, value)), hint="")
    if isinstance(value, tuple):
        return Message("cli.fact.list", entries=tuple(map(_entry, value))) if value else Message("cli.fact.none")
    return Message("errors.verbatim", sentence=str(getattr(value, "value", value)), hint="")


def _entry(value: Any) -> str | Message:
    """One of several: a process with the number to find it by, a swap area, a power mode."""
    match value:
        case OtherProcess():
            return Message("cli.fact.process", name=value.name, pid=value.pid, held_bytes=value.resident_bytes)
        case GpuProcess():
            return Message("cli.fact.process", name=value.name, pid=value.pid, held_bytes=value.gpu_bytes)
        case SwapArea():
            storage = value.storage or Message("cli.fact.storage_unknown")
            return Message("cli.fact.swap_area", path=value.path, size_bytes=value.total_bytes, storage=storage)
        case _:
            return str(value.name)
