"""Jetson boards identified by the files that real boards have (texts from public board reports)."""

from pathlib import Path

import pytest

from vedette.device.device import Device, Family, PowerMode
from vedette.device.jetson import jetpack_for, parse_l4t_package, parse_tegra_release
from vedette.device.probe import read_device

TNSPEC_NANO_SUPER = "TNSPEC 3767-300-0005-S.1-1-1-jetson-orin-nano-devkit-super-\n"
CONTROL = "{tnspec}COMPATIBLE_SPEC 3767--0005--1--jetson-orin-nano-devkit-\nTEGRA_CHIPID 0x23\n"


def lay_out(root: Path, total_mib: int, **files: str) -> Path:
    """A board's file system with `total_mib` of RAM; keyword names say which file gets which text."""
    paths = {
        "control": "etc/nv_boot_control.conf",
        "model": "proc/device-tree/model",
        "compatible": "proc/device-tree/compatible",
        "release": "etc/nv_tegra_release",
        "dpkg": "var/lib/dpkg/status",
        "power": "var/lib/nvpmodel/status",
        "power_config": "etc/nvpmodel.conf",
    }
    texts = {paths[name]: text for name, text in files.items()}
    texts["proc/meminfo"] = f"MemTotal: {total_mib * 1024} kB\nMemAvailable: {(total_mib - 900) * 1024} kB\n"
    texts["proc/self/status"] = "Name:\tpython3\nCpus_allowed_list:\t0-5\n"
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def compatible(*names: str) -> str:
    return "\0".join(names) + "\0"


def test_orin_nano_developer_kit_with_everything_in_place(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        7620,
        control=CONTROL.format(tnspec=TNSPEC_NANO_SUPER),
        model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
        compatible=compatible("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"),
        release="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed\n",
        power="pmode:0002 fmode:quiet\n",
        power_config="< POWER_MODEL ID=1 NAME=25W >\nGPU MAX_FREQ 918000000\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    )
    assert read_device(tmp_path) == Device(
        name="Jetson Orin Nano 8GB",
        family=Family.JETSON,
        machine="aarch64",
        memory_total_bytes=7620 * 1024**2,
        memory_available_bytes=6720 * 1024**2,
        unified_memory=True,
        cpu_count=6,
        gpu_name="Jetson Orin Nano 8GB GPU",
        compute_capability=(8, 7),
        memory_bandwidth_bytes_per_s=102_400_000_000,
        peak_flops_per_s=16.7e12,
        l4t_version="36.4.3",
        jetpack_version="6.2",
        page_cache_counts_as_used=True,
        power_mode="MAXN_SUPER",
        power_modes=(PowerMode(1, "25W", 918_000_000, None), PowerMode(2, "MAXN_SUPER", None, None)),
    )


@pytest.mark.parametrize(
    ("tnspec", "total_mib", "name"),
    [
        ("3767-300-0000-H.2-1-0-recomputer-orin-j401-", 15388, "Jetson Orin NX 16GB"),
        ("3767-ES1-0000-A.3-1-0-jetson-orin-nx-xavier-nx-devkit-nvme0n1p1", 15388, "Jetson Orin NX 16GB"),
        ("3767-300-0001-A.1-1-0-custom-", 7620, "Jetson Orin NX 8GB"),
        ("3767-301-0003-A.1-1-0-custom-", 7620, "Jetson Orin Nano 8GB"),
        ("3767-300-0004-A.1-1-0-custom-", 3620, "Jetson Orin Nano 4GB"),
        ("3701-500-0004-L.0-1-0-jetson-agx-orin-devkit-", 30592, "Jetson AGX Orin 32GB"),
        ("3701-500-0005-J.0-1-1-jetson-agx-orin-devkit-", 62841, "Jetson AGX Orin 64GB"),
        ("3701-500-0008-R.0-1-1-jetson-agx-orin-devkit-industrial-", 62841, "Jetson AGX Orin 64GB"),
        ("3834-TS1-0000-B.1-1-0-jetson-agx-thor-t4000-", 62000, "Jetson Thor T4000"),
        ("3834--0008--1--jetson-agx-thor-devkit-", 125772, "Jetson AGX Thor (T5000)"),
    ],
)
def test_tnspec_names_the_module(tmp_path: Path, tnspec: str, total_mib: int, name: str) -> None:
    lay_out(tmp_path, total_mib, control=f"TNSPEC {tnspec}\nTEGRA_CHIPID 0x23\n")
    assert read_device(tmp_path).name == name


@pytest.mark.parametrize(("total_mib", "name"), [(30592, "Jetson AGX Orin 32GB"), (62841, "Jetson AGX Orin 64GB")])
def test_memory_tells_the_two_agx_orin_developer_kits_apart(tmp_path: Path, total_mib: int, name: str) -> None:
    lay_out(
        tmp_path,
        total_mib,
        control="TNSPEC 3701-500-0000-J.0-1-1-jetson-agx-orin-devkit-\n",
        model="NVIDIA Jetson AGX Orin Developer Kit\0",
        compatible=compatible("nvidia,p3737-0000+p3701-0000", "nvidia,tegra234"),
    )
    assert read_device(tmp_path).name == name


def test_a_generic_device_tree_does_not_turn_an_8gb_nx_into_a_16gb_one(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        7620,
        model="NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
        compatible=compatible("nvidia,p3768-0000+p3767-0000", "nvidia,tegra234"),
    )
    assert read_device(tmp_path).name == "Jetson Orin NX 8GB"


def test_the_device_tree_names_thor_where_nothing_else_does(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        125772,
        model="NVIDIA Jetson AGX Thor Developer Kit\0",
        compatible=compatible("nvidia,p4071-0000+p3834-0008", "nvidia,tegra264"),
        release="# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64\n",
    )
    device = read_device(tmp_path)
    assert (device.name, device.compute_capability, device.jetpack_version) == (
        "Jetson AGX Thor (T5000)",
        (11, 0),
        "7.0",
    )


def test_an_unknown_orin_keeps_what_its_chip_tells(tmp_path: Path) -> None:
    lay_out(tmp_path, 100000, model="Acme Orin\0", compatible=compatible("acme,board", "nvidia,tegra234"))
    device = read_device(tmp_path)
    assert (device.name, device.family, device.compute_capability) == ("Acme Orin", Family.JETSON, (8, 7))
    assert device.memory_bandwidth_bytes_per_s is None
    assert device.l4t_version is None


def test_orin_nano_bandwidth_follows_the_flashed_configuration(tmp_path: Path) -> None:
    lay_out(tmp_path, 7620, control="TNSPEC 3767-300-0005-X.1-1-1-jetson-orin-nano-devkit-\n")
    assert read_device(tmp_path).memory_bandwidth_bytes_per_s == 68_000_000_000


def test_orin_nano_bandwidth_is_unknown_without_tnspec(tmp_path: Path) -> None:
    lay_out(tmp_path, 7620, compatible=compatible("nvidia,p3768-0000+p3767-0005", "nvidia,tegra234"))
    assert read_device(tmp_path).memory_bandwidth_bytes_per_s is None


def test_the_l4t_package_gives_the_version_without_a_release_file(tmp_path: Path) -> None:
    dpkg = (
        "Package: nvidia-l4t-core-dev\nStatus: install ok installed\nVersion: 1.0\n\n"
        "Package: nvidia-l4t-core\nStatus: install ok installed\nArchitecture: arm64\n"
        "Version: 36.4.4-20250616085344\nDescription: core\n\nPackage: zlib1g\nVersion: 1.2\n"
    )
    assert parse_l4t_package(dpkg) == "36.4.4"
    lay_out(tmp_path, 7620, control=CONTROL.format(tnspec=TNSPEC_NANO_SUPER), dpkg=dpkg)
    assert read_device(tmp_path).jetpack_version == "6.2.1"


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [
        ("36.4.3", "6.2"),
        ("36.4.4", "6.2.1"),
        ("36.4.7", "6.2.1"),
        ("36.4.0", "6.1"),
        ("36.5", "6.2.2"),
        ("36.5.0", "6.2.2"),
        ("38.2.1", "7.0"),
        ("38.4", "7.1"),
        ("39.2.0", "7.2"),
        ("39.2.1", "7.2.1"),
        ("35.4.1", "5.1.2"),
        ("41.0.0", None),
    ],
)
def test_jetpack_of_l4t(l4t: str, jetpack: str | None) -> None:
    assert jetpack_for(l4t) == jetpack


def test_every_jetson_linux_release_has_its_jetpack() -> None:
    """As NVIDIA's Jetson Linux archive pairs them."""
    pairs = (
        "35.1.0=5.0.2 35.2.1=5.1 35.3.1=5.1.1 35.4.1=5.1.2 35.5.0=5.1.3 35.6.0=5.1.4 35.6.1=5.1.5 36.3.0=6.0 "
        "36.4.0=6.1 36.4.3=6.2 36.4.4=6.2.1 36.5.0=6.2.2 38.2.0=7.0 38.4.0=7.1 39.2.0=7.2 39.2.1=7.2.1"
    )
    published = dict(pair.split("=") for pair in pairs.split())
    assert {l4t: jetpack_for(l4t) for l4t in published} == published
    assert jetpack_for("36.2.0") == "6.0 DP"


def test_release_line_of_r39() -> None:
    text = "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, DATE: Mon Jun  1\n"
    assert parse_tegra_release(text) == "39.2.0"


@pytest.mark.parametrize(
    ("release", "counts"),
    [
        ("# R36 (release), REVISION: 5.0,", True),
        ("# R38 (release), REVISION: 4.0,", True),
        ("# R39 (release), REVISION: 2.0,", False),
        ("", False),
    ],
)
def test_the_page_cache_counts_as_used_for_cuda_below_r39(tmp_path: Path, release: str, counts: bool) -> None:
    lay_out(tmp_path, 7620, compatible=compatible("nvidia,p3767-0005", "nvidia,tegra234"), release=release)
    assert read_device(tmp_path).page_cache_counts_as_used is counts


def test_a_board_with_zram_as_jetpack_sets_it_up(tmp_path: Path) -> None:
    """One zram disk for each of its six cores, together half the RAM."""
    lay_out(tmp_path, 7620, control=CONTROL.format(tnspec=TNSPEC_NANO_SUPER))
    with (tmp_path / "proc/meminfo").open("a") as meminfo:
        meminfo.write("SwapTotal: 3901440 kB\nSwapFree: 3144192 kB\n")
    rows = "".join(f"/dev/zram{disk}                              partition\t650240\t126208\t5\n" for disk in range(6))
    (tmp_path / "proc/swaps").write_text(f"Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n{rows}")
    device = read_device(tmp_path)
    assert (device.swap_total_bytes, device.swap_free_bytes, device.swap_zram_bytes) == (
        3901440 * 1024,
        3144192 * 1024,
        3901440 * 1024,
    )
