"""The boards that vedette knows by name. With them a plan can be made on another machine."""

import difflib
import re
from dataclasses import dataclass, replace
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


NEWEST_JETPACK, NEWEST_L4T = "7.2.1", "39.2.1"
"""They run on Orin too: `orin-nano-8gb-r39` names a board with them."""
_WITH_L4T = re.compile(r"(.+)-(?:r39|l4t-?39|jetpack-?7\.2)(?:\.\d+)*")


@dataclass(frozen=True)
class Board:
    """One Jetson module, or another machine with unified memory, of boards.toml."""

    title: str
    series: str
    modules: tuple[str, ...]
    memory_nominal_gib: int
    memory_total_mib: int
    memory_bandwidth_gb_per_s: float
    tensor_tflops: float
    compute_capability: tuple[int, int]
    cpu_count: int
    jetpack: str | None = None
    """None for a machine that is no Jetson."""
    l4t: str | None = None
    memory_bandwidth_before_super_gb_per_s: float | None = None


@cache
def boards() -> dict[str, Board]:
    """Every board by its catalogue name (`orin-nano-8gb`)."""
    text = resources.files("vedette.device").joinpath("boards.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Board])


def device_named(name: str) -> Device:
    """Return the board called `name`, with `assumed=True`. Case, spaces and a leading "Jetson" do not matter.

    With `-r39` at its end it is the board with JetPack 7.2, which runs on Orin and on Thor.

    Raises DeviceError, which suggests the nearest name, if the catalogue has no such board.
    """
    wanted = "-".join(name.lower().replace("_", " ").replace("-", " ").split()).removeprefix("jetson-")
    known = boards()
    newer = _WITH_L4T.fullmatch(wanted)
    if newer is not None and newer[1] in known and known[newer[1]].l4t is not None:
        return device_of(replace(known[newer[1]], l4t=NEWEST_L4T, jetpack=NEWEST_JETPACK))
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
        family=Family.NVIDIA if board.l4t is None else Family.JETSON,
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
        page_cache_counts_as_used=board.jetpack is not None
        and _version(board.jetpack) < FIRST_JETPACK_THAT_DISCOUNTS_CACHE,
        assumed=True,
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
