"""Jetson boards: which module this is, and which L4T and JetPack run on it.

Three sources, the most reliable first: the TNSPEC line that the flasher wrote; the device tree, whose generic files
name another module of the series on some carriers; and MemTotal, which decides between modules of the same name
("Jetson AGX Orin Developer Kit" is sold with 32 and with 64 GB).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from vedette.device.boards import Board, boards
from vedette.device.device import PowerMode
from vedette.device.power import parse_power_mode, parse_power_modes, read_clocks_locked
from vedette.units import GIB

MODULE = re.compile(r"p?(3701|3767|3834)-(?:[0-9A-Z]*-)?(\d{4})(?!\d)")
JETPACK_BY_L4T = {
    (35, 1, 0): "5.0.2",
    (35, 2, 1): "5.1",
    (35, 3, 1): "5.1.1",
    (35, 4, 1): "5.1.2",
    (35, 5, 0): "5.1.3",
    (35, 6, 0): "5.1.4",
    (35, 6, 1): "5.1.5",
    (36, 2, 0): "6.0 DP",
    (36, 3, 0): "6.0",
    (36, 4, 0): "6.1",
    (36, 4, 3): "6.2",
    (36, 4, 4): "6.2.1",
    (36, 5, 0): "6.2.2",
    (38, 2, 0): "7.0",
    (38, 4, 0): "7.1",
    (39, 2, 0): "7.2",
    (39, 2, 1): "7.2.1",
}
"""The JetPack release of each Jetson Linux (L4T) release, from NVIDIA's Jetson Linux archive."""
FIRST_L4T_THAT_DISCOUNTS_CACHE = 39
"""Earlier versions count the page cache as used memory in CUDA's call for free memory."""
FIRST_L4T_WITH_THE_USUAL_DRIVER = 38
"""Earlier versions have no NVML, or an NVML with few figures. On them nvmap lists the users of GPU memory."""
SERIES_BY_MODEL = (
    ("agx orin", "agx-orin"),
    ("orin nx", "orin-nx"),
    ("orin nano", "orin-nano"),
    ("thor", "thor"),
)
SERIES_BY_MODULE = {"p3701": "agx-orin", "p3834": "thor"}
COMPUTE_CAPABILITY_BY_SOC = {"nvidia,tegra234": (8, 7), "nvidia,tegra264": (11, 0)}


@dataclass(frozen=True)
class Jetson:
    """Facts that the board reports; `board` is None for a Jetson that is not in the catalogue."""

    name: str
    board: Board | None
    compute_capability: tuple[int, int] | None
    memory_bandwidth_bytes_per_s: int | None
    l4t_version: str | None
    jetpack_version: str | None
    page_cache_counts_as_used: bool
    """Whether CUDA's call for free memory counts the page cache as used."""
    has_usual_driver: bool
    """Whether NVML reports the same figures as for other GPUs."""
    power_mode: str | None
    power_modes: tuple[PowerMode, ...]
    clocks_locked: bool | None


def read_jetson(root: Path, memory_total_bytes: int) -> Jetson | None:
    """Read the facts of the Jetson whose files lie under `root`; None if the machine is no Jetson.

    memory_total_bytes: MemTotal of the whole machine, before any cgroup.
    """
    tnspec = parse_tnspec(_read_text(root / "etc/nv_boot_control.conf"))
    model = _read_text(root / "proc/device-tree/model").rstrip("\0").strip()
    compatible = [name for name in _read_text(root / "proc/device-tree/compatible").split("\0") if name]
    release = parse_tegra_release(_read_text(root / "etc/nv_tegra_release"))
    if not (tnspec or release or any(name.startswith("nvidia,tegra") for name in compatible)):
        return None
    l4t = release or parse_l4t_package(_read_text(root / "var/lib/dpkg/status"))
    line = int(l4t.split(".")[0]) if l4t else None
    board = identify_board(tnspec, model, compatible, memory_total_bytes)
    soc = next((COMPUTE_CAPABILITY_BY_SOC[name] for name in compatible if name in COMPUTE_CAPABILITY_BY_SOC), None)
    modes = parse_power_modes(_read_text(root / "etc/nvpmodel.conf"))
    return Jetson(
        name=board.title if board else (model or "Jetson"),
        board=board,
        compute_capability=board.compute_capability if board else soc,
        memory_bandwidth_bytes_per_s=_bandwidth(board, tnspec) if board else None,
        l4t_version=l4t,
        jetpack_version=jetpack_for(l4t) if l4t else None,
        page_cache_counts_as_used=line is not None and line < FIRST_L4T_THAT_DISCOUNTS_CACHE,
        has_usual_driver=line is not None and line >= FIRST_L4T_WITH_THE_USUAL_DRIVER,
        power_mode=parse_power_mode(_read_text(root / "var/lib/nvpmodel/status"), modes),
        power_modes=modes,
        clocks_locked=read_clocks_locked(root),
    )


def identify_board(tnspec: str | None, model: str, compatible: list[str], memory_total_bytes: int) -> Board | None:
    """Return the catalogue's board that matches TNSPEC, device tree and memory; None if no known board does.

    A module number decides if the memory agrees with it. If not (a developer kit sold in two sizes, a generic device
    tree), the board of the same series with that much memory is returned.
    """
    texts = [tnspec or "", *compatible]
    numbers = [f"p{match[1]}-{match[2]}" for text in texts for match in MODULE.finditer(text)]
    known = [board for number in numbers for board in boards().values() if number in board.modules]
    for board in known:
        if _memory_agrees(board, memory_total_bytes):
            return board
    series = [name for words, name in SERIES_BY_MODEL if words in model.lower()]
    series += [SERIES_BY_MODULE[number[:5]] for number in numbers if number[:5] in SERIES_BY_MODULE]
    series += [board.series for board in known]
    for name in series:
        for board in boards().values():
            if board.series == name and _memory_agrees(board, memory_total_bytes):
                return board
    return None


def _memory_agrees(board: Board, memory_total_bytes: int) -> bool:
    """Return whether MemTotal is a little below the module's memory, but above that of the next smaller module."""
    return board.memory_nominal_gib * 0.6 < memory_total_bytes / GIB <= board.memory_nominal_gib


def _bandwidth(board: Board, tnspec: str | None) -> int | None:
    if board.memory_bandwidth_before_super_gb_per_s is None:
        return round(board.memory_bandwidth_gb_per_s * 1e9)
    if tnspec is None:
        return None
    is_super = "super" in tnspec.split("-")
    return round((board.memory_bandwidth_gb_per_s if is_super else board.memory_bandwidth_before_super_gb_per_s) * 1e9)


def parse_tnspec(text: str) -> str | None:
    """Parse the flashed specification: `3767-300-0005-S.1-1-1-jetson-orin-nano-devkit-super-`."""
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key == "TNSPEC" and value.strip():
            return value.strip()
    return None


def parse_tegra_release(text: str) -> str | None:
    """Parse `36.4.3` from `# R36 (release), REVISION: 4.3, GCID: …` of /etc/nv_tegra_release."""
    match = re.search(r"\bR(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)", text)
    return f"{match[1]}.{match[2]}" if match else None


def parse_l4t_package(text: str) -> str | None:
    """Parse the version of nvidia-l4t-core in dpkg's status file, without its build date (`36.4.3-2025…`)."""
    for paragraph in text.split("\n\n"):
        if "Package: nvidia-l4t-core\n" in paragraph:
            match = re.search(r"^Version: (\d+(?:\.\d+)+)", paragraph, re.MULTILINE)
            return match[1] if match else None
    return None


def jetpack_for(l4t: str) -> str | None:
    """Return the JetPack of a Jetson Linux version; a security update (36.4.7) belongs to the release before it.

    None for a release line that is not in the table.
    """
    numbers = tuple(int(part) for part in l4t.split("."))
    version = (*numbers, 0, 0)[:3]
    earlier = [known for known in JETPACK_BY_L4T if known[:2] == version[:2] and known <= version]
    return JETPACK_BY_L4T[max(earlier)] if earlier else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
