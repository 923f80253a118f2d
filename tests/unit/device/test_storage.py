"""What files lie on: sysfs and mount tables laid out as on boards and machines."""

from pathlib import Path

import pytest

from vedette.device.device import SwapArea
from vedette.device.probe import read_device
from vedette.device.storage import Mount, find_mount, parse_swaps, read_storage, read_swap_areas

BOARD = """\
29 1 179:1 / / rw,relatime shared:1 - ext4 /dev/mmcblk1p1 rw
30 29 0:5 / /dev rw,nosuid shared:2 - devtmpfs none rw
40 29 259:1 / /ssd rw,relatime shared:20 - ext4 /dev/nvme0n1p1 rw
41 29 8:1 / /media/usb\\040stick rw shared:21 - vfat /dev/sda1 rw
42 29 0:44 / /mnt/models rw shared:22 - nfs4 nas:/models rw,vers=4.2
43 29 253:0 / /vault rw shared:23 - ext4 /dev/mapper/vault rw
44 29 0:50 / /fast rw shared:24 - btrfs /dev/nvme0n1p2 rw
45 29 254:0 / /virtual rw shared:25 - ext4 /dev/vda rw
46 29 0:60 / /layers rw - overlay overlay rw,lowerdir=/x
"""
DEVICES = {
    "179:1": "platform/bus@0/3400000.mmc/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1/mmcblk1p1",
    "179:97": "platform/bus@0/3460000.mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p1",
    "259:1": "platform/bus@0/14160000.pcie/pci0004:00/0004:00:00.0/0004:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1",
    "8:1": "platform/bus@0/3610000.usb/usb2/2-1/2-1.2/2-1.2:1.0/host0/target0:0:0/0:0:0:0/block/sda/sda1",
    "253:0": "virtual/block/dm-0",
    "254:0": "pci0000:00/0000:00:03.0/virtio1/block/vda",
}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(BOARD)
    for number, place in DEVICES.items():
        directory = tmp_path / "sys/devices" / place
        directory.mkdir(parents=True)
        link(tmp_path / "sys/dev/block" / number, directory)
        link(tmp_path / "sys/class/block" / directory.name, directory)
    nvme = tmp_path / "sys/devices" / DEVICES["259:1"].replace("nvme0n1p1", "nvme0n1p2")
    nvme.mkdir()
    link(tmp_path / "sys/class/block/nvme0n1p2", nvme)
    for disk, kind in (("mmcblk1", "SD"), ("mmcblk0", "MMC")):
        card = next((tmp_path / "sys/devices").rglob(f"block/{disk}")) / "device"
        card.mkdir()
        (card / "type").write_text(f"{kind}\n")
    slaves = tmp_path / "sys/devices" / DEVICES["253:0"] / "slaves"
    slaves.mkdir()
    link(slaves / "sda1", tmp_path / "sys/devices" / DEVICES["8:1"])
    return tmp_path


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/nano/.local/share/vedette", "sd"),
        ("/ssd/vedette", "nvme"),
        ("/ssdx", "sd"),
        ("/media/usb stick/models", "usb"),
        ("/mnt/models/a", "network"),
        ("/vault", "usb"),
        ("/fast", "nvme"),
        ("/virtual", None),
        ("/layers", None),
    ],
)
def test_what_a_directory_lies_on(board: Path, path: str, kind: str | None) -> None:
    assert read_storage(board, Path(path)) == kind


def test_soldered_memory_is_no_card(board: Path) -> None:
    mounts = board / "proc/self/mountinfo"
    mounts.write_text("29 1 179:97 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p1 rw\n")
    assert read_storage(board, Path("/home")) == "emmc"


def test_a_link_leads_where_it_points(board: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("home") / "models"
    elsewhere.symlink_to("/ssd/models")
    assert read_storage(board, elsewhere) == "nvme"


def test_the_last_of_two_mounts_on_one_place_counts() -> None:
    table = "1 0 8:1 / /a rw - ext4 /dev/sda1 rw\n2 1 8:2 / /a rw - xfs /dev/sdb1 rw\nshort\n3 1 - x\n"
    assert find_mount(table, Path("/a/b")) == Mount("/a", "8:2", "xfs", "/dev/sdb1")
    assert find_mount(table, Path("/b")) is None


def test_a_drive_that_the_kernel_does_not_list_is_unknown(board: Path) -> None:
    (board / "proc/self/mountinfo").write_text("29 1 259:9 / / rw - ext4 /dev/nvme9n1 rw\n")
    assert read_storage(board, Path("/")) is None


def test_a_machine_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    assert read_storage(tmp_path, Path("/home")) is None
    assert read_swap_areas(tmp_path) == ()


SWAPS = """\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t650240\t\t0\t\t5
/swapfile                               file\t\t4194300\t\t0\t\t-2
/ssd/16GB.swap                          file\t\t16777212\t0\t\t-3
/dev/mmcblk0p1                          partition\t1024\t\t0\t\t-4
/old\\040swap\\040(deleted)               file\t\tmuch\t\t0\t\t-5
"""


def test_swap_files_and_partitions_with_what_they_lie_on(board: Path) -> None:
    (board / "proc/swaps").write_text(SWAPS)
    (board / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    assert read_device(board).swap_areas == (
        SwapArea("/swapfile", 4194300 * 1024, "sd"),
        SwapArea("/ssd/16GB.swap", 16777212 * 1024, "nvme"),
        SwapArea("/dev/mmcblk0p1", 1024 * 1024, "emmc"),
    )


def test_the_spaces_of_a_swap_files_name() -> None:
    assert list(parse_swaps("head\n/a\\040b file 1 0 -2\n")) == [("/a b", True, 1024)]


def test_storage_and_free_disk_of_the_running_machine() -> None:
    """Whatever this is: nothing but a known kind or none, and sizes that are there."""
    device = read_device(storage=Path("/tmp/not/yet"), cache=Path("/tmp"))
    assert device.storage in (None, "nvme", "sd", "emmc", "usb", "network")
    assert device.disk_free_bytes is not None
    assert device.cache_free_bytes is not None
