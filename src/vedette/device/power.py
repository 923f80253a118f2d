"""Limits on speed: a Jetson's power mode and clocks, and the processor's frequency governor."""

import re
from pathlib import Path

from vedette.device.device import PowerMode

_GPU = re.compile(r"[0-9a-f]+\.(gpu|ga10b)|gpu-gpc-0")
"""Names of a Jetson's GPU among the devices with a clock: Orin with L4T r36, with r35, and Thor."""
_FOLLOWING_DRIVERS = ("intel_pstate", "amd-pstate", "amd-pstate-epp")
"""With these drivers "powersave" follows the load. With all others it is the lowest clock."""


def parse_power_modes(config: str) -> tuple[PowerMode, ...]:
    """Parse the modes of /etc/nvpmodel.conf, in its order. A clock set to 0 or -1 is not limited."""
    blocks = re.split(r"^<\s*POWER_MODEL\s+", config, flags=re.MULTILINE)[1:]
    found = []
    for block in blocks:
        head = re.match(r"ID=(\d+)\s+NAME=(\S+?)\s*>", block)
        if head is not None:
            found.append(PowerMode(int(head[1]), head[2], _highest(block, "GPU"), _highest(block, "EMC")))
    return tuple(found)


def _highest(block: str, clock: str) -> int | None:
    found = re.search(rf"^{clock}\s+MAX_FREQ\s+(\d+)\s*$", block, re.MULTILINE)
    return int(found[1]) or None if found else None


def parse_power_mode(status: str, modes: tuple[PowerMode, ...]) -> str | None:
    """Parse the name of the mode in /var/lib/nvpmodel/status (`pmode:0002`); its number where it has no name."""
    current = re.search(r"pmode:(\d+)", status)
    if current is None:
        return None
    number = int(current[1])
    return next((mode.name for mode in modes if mode.number == number), str(number))


def read_clocks_locked(root: Path) -> bool | None:
    """Read whether a Jetson's GPU stays at its highest clock; None where that cannot be read."""
    try:
        gpus = [path for path in (root / "sys/class/devfreq").iterdir() if _GPU.fullmatch(path.name)]
        return (gpus[0] / "min_freq").read_text().strip() == (gpus[0] / "max_freq").read_text().strip()
    except (OSError, IndexError):
        return None


def read_cpu_kept_slow(root: Path) -> bool | None:
    """Read whether the first core's governor holds it at its lowest clock; None where there is no governor."""
    directory = root / "sys/devices/system/cpu/cpu0/cpufreq"
    try:
        governor = (directory / "scaling_governor").read_text().strip()
        driver = (directory / "scaling_driver").read_text().strip()
    except OSError:
        return None
    return governor == "powersave" and driver not in _FOLLOWING_DRIVERS
