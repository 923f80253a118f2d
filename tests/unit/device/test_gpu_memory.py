"""Who holds the GPU's memory: nvmap's table as boards print it, NVML's listings, and processes that are dead."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.procfs import add_process, process_status
from vedette.device.device import GpuProcess
from vedette.device.gpu_memory import GpuUse, Holding, parse_nvmap_clients, read_gpu_processes
from vedette.device.probe import read_device

MIB = 1024**2
AGX_ORIN = """\
CLIENT                        PROCESS      PID        SIZE
user                         gpu_burn     7979   23525644K
user                      gnome_shell     8119       5800K
user                             Xorg     2651      17876K
total                                            23549320K
"""
L4T_36 = """\
CLIENT                        PROCESS      PID        SIZE
user                  VLLM::EngineCor  1792595   14617792K
total                                            15879168K
"""


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A board on which one sees every process."""
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    return tmp_path


def test_the_table_of_an_agx_orin() -> None:
    assert parse_nvmap_clients(AGX_ORIN) == GpuUse(
        (Holding(7979, 23525644 * 1024), Holding(8119, 5800 * 1024), Holding(2651, 17876 * 1024)), 23549320 * 1024
    )


@pytest.mark.parametrize("name", ["Web Content", "python3.10 7", "a 1 2K b"])
def test_a_name_with_spaces_and_numbers_moves_no_column(name: str) -> None:
    use = parse_nvmap_clients(f"user {name:>18} {7:>8} {100:>10}K\ntotal {'':>40}100K\n")
    assert use == GpuUse((Holding(7, 100 * 1024),), 100 * 1024)


@pytest.mark.parametrize("text", ["", "Permission denied\n", "user x 1 2K\n"])
def test_other_texts_are_not_parsed_as_a_table(text: str) -> None:
    assert parse_nvmap_clients(text) is None


def test_without_namespaces_nothing_is_known(tmp_path: Path) -> None:
    assert read_gpu_processes(tmp_path, None, GpuUse((), 100 * MIB)) == ((), None)


def test_the_kernel_is_a_client_too(board: Path) -> None:
    use = parse_nvmap_clients("nvhost             kernel        0     307200K\ntotal    307200K\n")
    assert read_gpu_processes(board, None, use) == ((), 0)


def test_living_holders_are_named_and_their_memory_is_not_stale(board: Path) -> None:
    add_process(board, 7979, process_status("gpu_burn", 90))
    add_process(board, 8119, process_status("gnome_shell", 300))
    add_process(board, 2651, process_status("Xorg", 100))
    processes, stale = read_gpu_processes(board, None, parse_nvmap_clients(AGX_ORIN))
    assert processes == (GpuProcess("gpu_burn", 7979, 23525644 * 1024),)
    assert stale == 0


def test_memory_of_dead_processes_and_of_none_is_stale(board: Path) -> None:
    use = parse_nvmap_clients(L4T_36)
    assert read_gpu_processes(board, None, use) == ((), 15879168 * 1024)
    add_process(board, 1792595, process_status("VLLM::EngineCor", 900))
    processes, stale = read_gpu_processes(board, None, use)
    assert (len(processes), stale) == (1, (15879168 - 14617792) * 1024)


def test_a_zombie_counts_as_dead(board: Path) -> None:
    add_process(board, 1792595, "Name:\tVLLM::EngineCor\nState:\tZ (zombie)\nThreads:\t1\n")
    assert read_gpu_processes(board, None, parse_nvmap_clients(L4T_36)) == ((), 15879168 * 1024)


def test_in_a_container_no_process_counts_as_dead(board: Path) -> None:
    namespace = board / "proc/self/ns/pid"
    namespace.unlink()
    namespace.symlink_to("pid:[4026532451]")
    assert read_gpu_processes(board, None, parse_nvmap_clients(L4T_36)) == ((), None)


def test_an_unknown_size_makes_the_stale_memory_unknown(board: Path) -> None:
    add_process(board, 5, process_status("python3", 900))
    use = GpuUse((Holding(5, None),), 4000 * MIB)
    assert read_gpu_processes(board, None, use) == ((), None)


def test_vedettes_own_engines_are_explained_but_not_named(board: Path) -> None:
    workplace = board / "engine"
    (workplace / "one").mkdir(parents=True)
    add_process(board, 5, process_status("VLLM::EngineCor", 900), cwd=workplace / "one")
    add_process(board, os.getpid(), process_status("vedette", 50))
    use = GpuUse((Holding(5, 3000 * MIB), Holding(os.getpid(), 300 * MIB)), 3300 * MIB)
    assert read_gpu_processes(board, workplace, use) == ((), 0)


def test_the_device_tells_what_nvmap_says(board: Path) -> None:
    (board / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    compatible = board / "proc/device-tree/compatible"
    compatible.parent.mkdir()
    compatible.write_text("nvidia,p3767-0005\0nvidia,tegra234\0")
    assert read_device(board).gpu_stale_bytes is None
    clients = board / "sys/kernel/debug/nvmap/iovmm/clients"
    clients.parent.mkdir(parents=True)
    clients.write_text(L4T_36)
    assert read_device(board).gpu_stale_bytes == 15879168 * 1024


def test_a_real_process_counts_as_living_until_it_is_killed(board: Path) -> None:
    """Killed and not yet waited for, it is a zombie of the running kernel."""
    (board / "proc").joinpath("7").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        use = GpuUse((Holding(child.pid, 300 * MIB),), 300 * MIB)
        (board / f"proc/{child.pid}").symlink_to(f"/proc/{child.pid}")
        assert read_gpu_processes(board, None, use)[1] == 0
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert read_gpu_processes(board, None, use) == ((), 300 * MIB)
