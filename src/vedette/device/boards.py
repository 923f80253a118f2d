"""The boards vedette knows by name, so that a plan can be made away from the board."""

import difflib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from vedette.device.device import Device, Family
from vedette.errors import DeviceError

ASSUMED_SYSTEM_BYTES = 1024**3
"""What a headless JetPack and its services hold; a catalogue board is planned with the rest available."""

FIRST_JETPACK_THAT_DISCOUNTS_CACHE = (7, 2)
"""The first with an L4T of r39, where the page cache no longer counts as used for CUDA."""


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
    """The board called `name`, with `assumed=True`; case, spaces and a leading "Jetson" do not matter.

    Raises DeviceError, naming the nearest board, if there is none.
    """
    wanted = "-".join(name.lower().replace("_", " ").replace("-", " ").split()).removeprefix("jetson-")
    known = boards()
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise DeviceError(
            f"There is no device named {name!r} in the catalogue.",
            f"{hint}Known devices: {', '.join(known)}.",
        )
    return _as_device(known[wanted])


def _as_device(board: Board) -> Device:
    total_bytes = board.memory_total_mib * 1024**2
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
