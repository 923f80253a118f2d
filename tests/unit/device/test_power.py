"""Power modes and clocks, from the files that boards have (modes and clocks as owners published them)."""

from pathlib import Path

import pytest

from tests.rig.power_modes import ORIN_NANO_SUPER, SUPER_MODES
from vedette.device.device import PowerMode
from vedette.device.power import parse_power_mode, parse_power_modes, read_clocks_locked, read_cpu_kept_slow


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def test_the_modes_of_an_orin_nano_super_with_their_limits() -> None:
    assert parse_power_modes(ORIN_NANO_SUPER) == SUPER_MODES
    assert parse_power_modes("") == ()


def test_no_limit_is_written_as_zero_on_other_boards() -> None:
    assert parse_power_modes("< POWER_MODEL ID=0 NAME=MAXN >\nGPU MAX_FREQ -1\nEMC MAX_FREQ 0\n") == (
        PowerMode(0, "MAXN", None, None),
    )


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("pmode:0000 fmode:quiet\n", "15W"),
        ("pmode:0002\n", "MAXN_SUPER"),
        ("pmode:0003\nfmode:fanmode_quiet\n", "7W"),
        ("pmode:0009\n", "9"),
        ("", None),
    ],
)
def test_the_present_mode_by_its_name(status: str, name: str | None) -> None:
    assert parse_power_mode(status, SUPER_MODES) == name


@pytest.mark.parametrize(
    ("gpu", "lowest", "highest", "locked"),
    [
        ("17000000.gpu", "306000000", "1020000000", False),
        ("17000000.gpu", "1020000000", "1020000000", True),
        ("17000000.ga10b", "306000000", "624750000", False),
        ("gpu-gpc-0", "315000000", "1575000000", False),
        ("gpu-gpc-0", "1575000000", "1575000000", True),
    ],
)
def test_clocks_are_locked_where_the_gpu_may_not_slow_down(
    tmp_path: Path, gpu: str, lowest: str, highest: str, locked: bool
) -> None:
    directory = f"sys/class/devfreq/{gpu}"
    other = "sys/class/devfreq/15340000.vic"
    write(
        tmp_path,
        {
            f"{directory}/min_freq": lowest + "\n",
            f"{directory}/max_freq": highest + "\n",
            f"{other}/min_freq": "115200000\n",
            f"{other}/max_freq": "115200000\n",
        },
    )
    assert read_clocks_locked(tmp_path) is locked


def test_clocks_that_cannot_be_read_are_unknown(tmp_path: Path) -> None:
    assert read_clocks_locked(tmp_path) is None
    (tmp_path / "sys/class/devfreq/15340000.vic").mkdir(parents=True)
    assert read_clocks_locked(tmp_path) is None


@pytest.mark.parametrize(
    ("governor", "driver", "slow"),
    [
        ("powersave", "acpi-cpufreq", True),
        ("powersave", "intel_cpufreq", True),
        ("powersave", "intel_pstate", False),
        ("powersave", "amd-pstate-epp", False),
        ("schedutil", "cppc_cpufreq", False),
    ],
)
def test_powersave_is_slow_only_where_it_does_not_follow_the_load(
    tmp_path: Path, governor: str, driver: str, slow: bool
) -> None:
    cpu = "sys/devices/system/cpu/cpu0/cpufreq"
    write(tmp_path, {f"{cpu}/scaling_governor": f"{governor}\n", f"{cpu}/scaling_driver": f"{driver}\n"})
    assert read_cpu_kept_slow(tmp_path) is slow


def test_a_machine_without_governors_is_not_called_slow(tmp_path: Path) -> None:
    assert read_cpu_kept_slow(tmp_path) is None
