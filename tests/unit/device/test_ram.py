"""Memory that may be used: /proc/meminfo and memory cgroups of both versions, laid out as in containers."""

from pathlib import Path

import pytest

from vedette.device.cpu import parse_cpus_allowed
from vedette.device.device import Family
from vedette.device.probe import read_device
from vedette.device.ram import Swap, parse_meminfo, parse_swap
from vedette.errors import DeviceError

GIB = 1024**3
MEMINFO = "MemTotal: 16777216 kB\nMemFree: 1048576 kB\nMemAvailable: 12582912 kB\nBuffers: 0 kB\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 16 GiB of RAM, 12 available, and no cgroup."""
    write(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/status": "Cpus_allowed_list:\t0-3,6\n"})
    return tmp_path


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def memory_of(root: Path) -> tuple[int, int]:
    device = read_device(root)
    return device.memory_total_bytes, device.memory_available_bytes


def test_without_cgroups_the_kernel_decides(machine: Path) -> None:
    assert memory_of(machine) == (16 * GIB, 12 * GIB)
    device = read_device(machine)
    assert not device.memory_limited
    assert (device.family, device.cpu_count, device.name, device.unified_memory) == (
        Family.CPU,
        5,
        "CPU",
        True,
    )


def test_version_1_limit_less_usage_plus_file_cache(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/box/own\n0::/\n",
            "sys/fs/cgroup/memory/box/own/memory.limit_in_bytes": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory/box/own/memory.usage_in_bytes": f"{3 * GIB}\n",
            "sys/fs/cgroup/memory/box/own/memory.stat": (
                f"cache {2 * GIB}\ntotal_inactive_file {GIB}\ntotal_active_file {GIB // 2}\n"
            ),
        },
    )
    assert memory_of(machine) == (4 * GIB, 2 * GIB + GIB // 2)


def test_version_1_without_a_limit(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "4:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GIB}\n",
        },
    )
    assert memory_of(machine) == (16 * GIB, 12 * GIB)


def test_version_2_takes_the_tightest_of_nested_limits(machine: Path) -> None:
    inner, outer = "sys/fs/cgroup/user.slice/app.scope", "sys/fs/cgroup/user.slice"
    write(
        machine,
        {
            "proc/self/cgroup": "0::/user.slice/app.scope\n",
            f"{inner}/memory.max": "max\n",
            f"{inner}/memory.current": f"{GIB}\n",
            f"{outer}/memory.max": f"{6 * GIB}\n",
            f"{outer}/memory.high": f"{5 * GIB}\n",
            f"{outer}/memory.current": f"{3 * GIB}\n",
            f"{outer}/memory.stat": f"inactive_file {GIB}\nactive_file 0\nslab_reclaimable 0\n",
        },
    )
    assert memory_of(machine) == (5 * GIB, 3 * GIB)


def test_a_container_without_a_cgroup_namespace_falls_back_to_its_mount(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "5:memory,hugetlb:/docker/0123abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
        },
    )
    assert memory_of(machine) == (2 * GIB, GIB)


def test_a_cgroup_path_outside_the_namespace_is_not_followed(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/../other\n",
            "sys/fs/other/memory.max": f"{GIB}\n",
            "sys/fs/other/memory.current": "0\n",
            "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory.current": "0\n",
        },
    )
    assert memory_of(machine) == (2 * GIB, 2 * GIB)


def test_a_cgroup_over_its_limit_leaves_nothing(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
        },
    )
    assert memory_of(machine) == (GIB, 0)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 5),
        (
            {
                "proc/self/cgroup": "1:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            5,
        ),
    ],
)
def test_cpu_quota_cuts_the_affinity(machine: Path, files: dict[str, str], cores: int) -> None:
    write(machine, files)
    assert read_device(machine).cpu_count == cores


@pytest.mark.parametrize(
    ("line", "cores"),
    [("Cpus_allowed_list:\t0-3,8\n", 5), ("Cpus_allowed_list:\t7\n", 1), ("Cpus_allowed:\tff\n", 1), ("", 1)],
)
def test_the_allowed_cores_are_counted(line: str, cores: int) -> None:
    assert parse_cpus_allowed(f"Name:\tpython3\n{line}Threads:\t12\n") == cores


def test_the_name_of_the_processor(machine: Path) -> None:
    write(machine, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC  7B13\nflags\t: fpu\n"})
    assert read_device(machine).name == "AMD EPYC 7B13"


def test_a_machine_without_proc_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"/proc/meminfo cannot be read .*with /proc mounted"):
        read_device(tmp_path)


def test_meminfo_without_a_total() -> None:
    with pytest.raises(DeviceError, match="lacks MemTotal"):
        parse_meminfo("SwapTotal: 0 kB\n")


def test_meminfo_of_an_old_kernel() -> None:
    assert parse_meminfo("MemTotal: 1000 kB\nMemFree: 600 kB\n").available_bytes == 600 * 1024


def test_free_disk_of_a_directory_that_is_yet_to_be_made(machine: Path) -> None:
    free = read_device(machine, storage=machine / "not" / "yet").disk_free_bytes
    assert free is not None
    assert free > 0


def test_a_limited_machine_says_so(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/box\n",
            "sys/fs/cgroup/box/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/box/memory.current": "0\n",
        },
    )
    assert read_device(machine).memory_limited


def test_the_page_cache_is_what_of_the_available_memory_is_not_free(machine: Path) -> None:
    assert read_device(machine).page_cache_bytes == 11 * GIB
    write(machine, {"proc/meminfo": "MemTotal: 4096 kB\nMemFree: 2048 kB\nMemAvailable: 1024 kB\n"})
    assert read_device(machine).page_cache_bytes == 0, "what the kernel keeps free for itself is no cache"


def test_the_page_cache_of_a_cgroup_is_its_own(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/box\n",
            "sys/fs/cgroup/box/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/box/memory.current": f"{5 * GIB}\n",
            "sys/fs/cgroup/box/memory.stat": f"inactive_file {2 * GIB}\nactive_file {GIB}\n",
        },
    )
    device = read_device(machine)
    assert (device.memory_available_bytes, device.page_cache_bytes) == (6 * GIB, 3 * GIB)


SWAPS = "Filename Type Size Used Priority\n"


@pytest.mark.parametrize(
    ("meminfo", "swaps", "swap"),
    [
        ("SwapTotal: 0 kB\nSwapFree: 0 kB\n", SWAPS, Swap(0, 0, 0)),
        (
            "SwapTotal: 3072 kB\nSwapFree: 1024 kB\n",
            f"{SWAPS}/dev/zram0 partition 1024 0 100\n/swap\\040file\\040(deleted) file 2048 2048 -2\n",
            Swap(3072 * 1024, 1024 * 1024, 1024 * 1024),
        ),
        ("SwapTotal: 3072 kB\nSwapFree: 1024 kB\n", None, Swap(3072 * 1024, 1024 * 1024, None)),
        ("MemTotal: 1 kB\n", f"{SWAPS}/dev/zram0 partition much 0 100\n/dev/zram1\n", Swap(None, None, 0)),
    ],
)
def test_swap_and_what_of_it_is_zram(meminfo: str, swaps: str | None, swap: Swap) -> None:
    assert parse_swap(meminfo, swaps) == swap
