"""Kinds of storage (an NVMe drive, an SD card, the network), swap areas and free disk space."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from vedette.device.device import StorageKind, SwapArea

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs")
_CARDS: dict[str, StorageKind] = {"SD": "sd", "MMC": "emmc"}
"""Device types of the kernel's MMC layer."""


@dataclass(frozen=True)
class Mount:
    """A line of /proc/PID/mountinfo."""

    point: str
    device_number: str
    """Major and minor (`259:1`). On btrfs and the like they belong to no block device."""
    filesystem: str
    source: str


def read_storage(root: Path, path: Path) -> StorageKind | None:
    """Read the storage kind below an existing or future directory; None where it is another kind or unknown.

    root: where the machine's file system is mounted; path: as that machine names it.
    """
    try:
        mount = find_mount((root / "proc/self/mountinfo").read_text(errors="replace"), Path(os.path.realpath(path)))
    except OSError:
        return None
    if mount is None:
        return None
    if mount.filesystem in _NETWORK:
        return "network"
    numbered = root / "sys/dev/block" / mount.device_number
    return _read_block(numbered if numbered.exists() else root / "sys/class/block" / PurePath(mount.source).name)


def find_mount(mountinfo: str, path: Path) -> Mount | None:
    """Return the mount that a path lies on: the deepest one, and the last of several at the same point."""
    found = None
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        fields, source = front.split(), back.split()
        if len(fields) < 5 or len(source) < 2:
            continue
        point = _unescaped(fields[4])
        if path.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
            found = Mount(point, fields[2], source[0], _unescaped(source[1]))
    return found


def read_swap_areas(root: Path) -> tuple[SwapArea, ...]:
    """Read swap files and partitions, without zram, which is RAM."""
    try:
        table = (root / "proc/swaps").read_text(errors="replace")
    except OSError:
        return ()
    found = []
    for path, is_file, total_bytes in parse_swaps(table):
        storage = read_storage(root, Path(path)) if is_file else _read_block(root / "sys/class/block" / Path(path).name)
        found.append(SwapArea(path, total_bytes, storage))
    return tuple(found)


def parse_swaps(table: str) -> Iterator[tuple[str, bool, int]]:
    """Parse /proc/swaps: path, whether it is a file, and bytes of each row but zram. Its sizes are KiB."""
    for line in table.splitlines()[1:]:
        row = line.split()
        if len(row) == 5 and row[2].isdigit() and not row[0].startswith("/dev/zram"):
            yield _unescaped(row[0]), row[1] == "file", int(row[2]) * 1024


def read_disk_free(path: Path) -> int | None:
    """Read the free bytes of the disk that `path` lies or will lie on."""
    existing = next((each for each in (path, *path.parents) if each.exists()), None)
    try:
        return shutil.disk_usage(existing).free if existing else None
    except OSError:
        return None


def _read_block(link: Path) -> StorageKind | None:
    """Read the kind of a block device of sysfs; an encrypted or logical volume has the kind of its disk."""
    try:
        directory = link.resolve(strict=True)
    except OSError:
        return None
    if directory.name.startswith("nvme"):
        return "nvme"
    if any(re.fullmatch(r"usb\d+", part) for part in directory.parts):
        return "usb"
    if directory.name.startswith("mmcblk"):
        disk = directory if (directory / "device").exists() else directory.parent
        try:
            return _CARDS.get((disk / "device/type").read_text().strip())
        except OSError:
            return None
    below = sorted((directory / "slaves").iterdir()) if (directory / "slaves").is_dir() else []
    return next((kind for kind in map(_read_block, below) if kind is not None), None)


def _unescaped(field: str) -> str:
    """Replace octal escapes, which the kernel writes for spaces in paths."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)
