"""The boards that vedette knows by name. With them a plan can be made on another machine."""

import difflib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from vedette.device.device import Device, Family
from vedette.errors import DeviceError
from vedette.units import GIB, MIB

ASSUMED_SYSTEM_BYTES = GIB
"""Memory of a headless JetPack and its services. The plan of a catalogue board counts the rest as available."""

FIRST_JETPACK_THAT_DISCOUNTS_CACHE = (7, 2)
"""The first with L4T r39, on which CUDA no longer counts the page cache as used memory."""


@dataclass(frozen=True)
class Board:
    """One Jetson module of catalogue.toml."""

    title: str
    series: str
    modules: tuple[str, ...]
    memory_nominal_gib: int
    memory_total_mib: int
    memory_bandwidth_gb_per_s: float
    tensor_tflops: float
    compute_capability: tuple[int, int]
    cpu_count: int
    jetpack: str
    l4t: str
    memory_bandwidth_before_super_gb_per_s: float | None = None


@cache
def boards() -> dict[str, Board]:
    """Every board by its catalogue name (`orin-nano-8gb`)."""
    text = resources.files("vedette.device").joinpath("boards.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Board])


def device_named(name: str) -> Device:
    """Return the board called `name`, with `assumed=True`. Case, spaces and a leading "Jetson" do not matter.

    Raises DeviceError, which suggests the nearest name, if the catalogue has no such board.
    """
    wanted = "-".join(name.lower().replace("_", " ").replace("-", " ").split()).removeprefix("jetson-")
    known = boards()
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.4)
        if near:
            raise DeviceError("device.unknown_board_with_suggestion", name=name, suggestion=near[0], known=tuple(known))
        raise DeviceError("device.unknown_board", name=name, known=tuple(known))
    return device_of(known[wanted])


def device_of(board: Board) -> Device:
    """Return the facts of a catalogue board, with `assumed=True`."""
    total_bytes = board.memory_total_mib * MIB
    return Device(
        name=board.title,
        family=Family.JETSON,
        machine="aarch64",
        memory_total_bytes=total_bytes,
        memory_available_bytes=total_bytes - ASSUMED_SYSTEM_BYTES,
        unified_memory=True,
        cpu_count=board.cpu_count,
        compute_capability=board.compute_capability,
        memory_bandwidth_bytes_per_s=round(board.memory_bandwidth_gb_per_s * 1e9),
        peak_flops_per_s=board.tensor_tflops * 1e12,
        l4t_version=board.l4t,
        jetpack_version=board.jetpack,
        page_cache_counts_as_used=_version(board.jetpack) < FIRST_JETPACK_THAT_DISCOUNTS_CACHE,
        assumed=True,
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
