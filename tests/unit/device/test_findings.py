"""Findings before a start, and the page cache that is dropped."""

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.rig.power_modes import SUPER_MODES
from vedette.device.boards import device_named
from vedette.device.device import Device, Family, GpuProcess, OtherProcess, PowerMode, SwapArea
from vedette.device.findings import Finding, check, findings, page_cache_in_the_way
from vedette.device.probe import read_device
from vedette.language.message import Message, say
from vedette.units import GIB, MIB


def board(name: str = "orin-nano-8gb", /, **facts: Any) -> Device:
    """A board that was read and has nothing wrong."""
    quiet: dict[str, Any] = {
        "assumed": False,
        "desktop_bytes": 0,
        "storage": "nvme",
        "disk_free_bytes": 90 * GIB,
        "gpu_stale_bytes": 0,
    }
    return dataclasses.replace(device_named(name), **(quiet | facts))


def gpu(**facts: Any) -> Device:
    """A machine with a GPU that has 24 GiB of its own."""
    device = Device(
        name="NVIDIA L4",
        family=Family.NVIDIA,
        machine="x86_64",
        memory_total_bytes=24 * GIB,
        memory_available_bytes=20 * GIB,
        unified_memory=False,
        cpu_count=8,
    )
    return dataclasses.replace(device, **facts)


def codes(device: Device) -> list[str]:
    return [finding.code for finding in findings(device)]


def only(device: Device, weights_bytes: int | None = None) -> Finding:
    found = findings(device, weights_bytes)
    assert len(found) == 1, found
    return found[0]


def test_a_healthy_machine_has_no_findings() -> None:
    assert codes(board(power_mode="MAXN_SUPER", power_modes=SUPER_MODES, clocks_locked=True)) == []
    assert codes(gpu()) == []


@pytest.mark.parametrize("name", ["orin-nano-8gb", "agx-orin-64gb", "agx-thor"])
def test_unknown_facts_have_no_findings(name: str) -> None:
    assert codes(device_named(name)) == []


def test_memory_that_no_living_process_holds() -> None:
    found = only(board(gpu_stale_bytes=2 * GIB))
    assert (found.code, found.size_bytes) == ("stale_gpu_memory", 2 * GIB)
    assert found.sentence == "2.00 GiB of GPU memory belong to no living process."
    assert "drop_caches" in (found.hint or "")
    assert "fuser" in (only(gpu(gpu_stale_bytes=2 * GIB)).hint or "")
    assert codes(board(gpu_stale_bytes=255 * MIB)) == []


def test_large_processes_are_named_with_the_way_to_stop_each() -> None:
    others = (
        OtherProcess("java", 812, 2 * GIB, "jenkins.service"),
        OtherProcess("firefox", 900, GIB),
        OtherProcess("small", 901, 300 * MIB),
    )
    found = only(board(other_processes=others))
    assert found.sentence == "java (812) 2.00 GiB, firefox (900) 1.00 GiB hold memory that the model could use."
    assert found.hint == "Stop the programs that you do not need: `sudo systemctl stop jenkins.service`, `kill 900`."
    assert codes(board("agx-thor", other_processes=others)) == []


@pytest.mark.parametrize(
    ("name", "run_by", "tool", "way"),
    [
        ("VLLM::EngineCor", "docker 3f2a1b4c5d6e", "vLLM", "docker stop 3f2a1b4c5d6e"),
        ("vllm", None, "vLLM", "kill 7"),
        ("VLLM::EngineCor", "vedette /srv/eyes/run", "vLLM", "VEDETTE_HOME=/srv/eyes vedette down"),
        ("VLLM::EngineCor", "vedette /srv/my eyes/run", "vLLM", "VEDETTE_HOME='/srv/my eyes' vedette down"),
        ("VLLM::EngineCor", "vedette /home/user/.local/state/vedette", "vLLM", "vedette down"),
        ("VLLM::EngineCor", "vedette /srv/state/vedette", "vLLM", "XDG_STATE_HOME=/srv/state vedette down"),
        ("ollama", "ollama.service", "Ollama", "sudo systemctl stop ollama.service"),
        ("ollama_llama_se", None, "Ollama", "kill 7"),
        ("llama-server", "podman 3f2a1b4c5d6e", "llama.cpp", "podman stop 3f2a1b4c5d6e"),
        ("sglang::schedul", None, "SGLang", "kill 7"),
        ("tritonserver", None, "Triton", "kill 7"),
    ],
)
def test_engines_of_other_tools_are_reported_at_any_size(name: str, run_by: str | None, tool: str, way: str) -> None:
    found = only(board("agx-thor", other_processes=(OtherProcess(name, 7, 300 * MIB, run_by),)))
    assert found.code == "other_engine"
    assert found.sentence.startswith(f"Another engine runs here: {tool} (7) 0.29 GiB.")
    assert found.hint == f"Stop it: `{way}`."


def test_processes_of_one_engine_are_summed_and_shared_gpu_memory_and_ram_are_added() -> None:
    run_by = "docker 3f2a1b4c5d6e"
    held = board(
        "agx-orin-32gb",
        other_processes=(OtherProcess("VLLM::EngineCor", 8, GIB, run_by), OtherProcess("vllm", 7, GIB // 2, run_by)),
        gpu_processes=(GpuProcess("VLLM::EngineCor", 8, 14 * GIB, run_by),),
    )
    found = only(held)
    assert "vLLM (8, 7) 15.50 GiB" in found.sentence
    assert found.size_bytes == 15 * GIB + GIB // 2


def test_a_gpu_with_its_own_memory_shares_that_and_not_the_ram() -> None:
    ram = OtherProcess("java", 812, 20 * GIB)
    assert codes(gpu(other_processes=(ram,))) == []
    found = only(gpu(other_processes=(ram,), gpu_processes=(GpuProcess("python3", 30, 6 * GIB),)))
    assert found.sentence == "python3 (30) 6.00 GiB holds memory that the model could use."


def test_a_desktop_is_reported_once_and_only_on_a_small_board() -> None:
    shell = OtherProcess("gnome-shell", 620, 500 * MIB)
    found = only(board(desktop_bytes=700 * MIB, other_processes=(shell,)))
    assert (found.code, found.size_bytes) == ("desktop", 700 * MIB)
    assert "sudo init 3" in (found.hint or "")
    assert codes(board("orin-nx-16gb", desktop_bytes=700 * MIB, other_processes=(shell,))) == []
    assert codes(gpu(desktop_bytes=700 * MIB)) == []


def test_a_full_disk_is_reported_once() -> None:
    found = only(board(disk_free_bytes=100 * MIB, cache_free_bytes=100 * MIB))
    assert found.sentence == "Only 100 MiB are free on the disk with models and engines."
    assert "caches" in only(board(cache_free_bytes=300 * MIB)).sentence
    assert codes(board(disk_free_bytes=GIB, cache_free_bytes=GIB)) == []


@pytest.mark.parametrize(
    ("storage", "weights_bytes", "sentence"),
    [
        ("sd", 5 * GIB // 2, "Models lie on an SD card: it takes about 40 s to read 2.50 GiB of weights."),
        ("emmc", 5 * GIB // 2, "Models lie on eMMC: it takes at least 7 s to read 2.50 GiB of weights."),
        ("usb", GIB, "Models lie on a USB drive, which is slower than an NVMe drive."),
        ("network", GIB, "Models lie on a network file system, which is slower than an NVMe drive."),
        ("sd", None, "Models lie on an SD card, which is slower than an NVMe drive."),
    ],
)
def test_slow_storage_and_what_it_costs(storage: str, weights_bytes: int | None, sentence: str) -> None:
    assert only(board(storage=storage), weights_bytes).sentence == sentence


def test_swap_on_a_card_but_not_on_a_drive() -> None:
    areas = (SwapArea("/my swap", 4 * GIB, "sd"), SwapArea("/ssd/swap", 16 * GIB, "nvme"), SwapArea("/x", GIB, None))
    found = only(board(swap_areas=areas))
    assert found.sentence.startswith("4.00 GiB of swap lie on an SD card")
    assert found.hint == "Switch it off: `sudo swapoff '/my swap'`."


AGX_ORIN = (PowerMode(0, "MAXN", None, None), *(PowerMode(i, f"MODE_{w}W", None, None) for i, w in ((1, 15), (3, 50))))
THOR = (PowerMode(0, "MAXN", None, None), *(PowerMode(i, f"{w}W", None, None) for i, w in ((1, 120), (3, 70))))
NO_MAXN = (PowerMode(0, "15W", 625_000_000, None), PowerMode(1, "7W", 408_000_000, 2_133_000_000))


@pytest.mark.parametrize(
    ("modes", "present", "fastest", "held"),
    [
        (SUPER_MODES, "15W", 2, "15W, not MAXN_SUPER. This mode limits the clocks: GPU 612 MHz, memory 2,133 MHz."),
        (SUPER_MODES, "7W", 2, "GPU 408 MHz, memory 2,133 MHz"),
        (AGX_ORIN, "MODE_50W", 0, "power mode MODE_50W, not MAXN."),
        (THOR, "120W", 0, "power mode 120W, not MAXN."),
        (NO_MAXN, "7W", 0, "not 15W"),
    ],
)
def test_a_power_mode_that_is_not_the_fastest(
    modes: tuple[PowerMode, ...], present: str, fastest: int, held: str
) -> None:
    found = only(board(power_mode=present, power_modes=modes, clocks_locked=False))
    assert found.code == "power_mode"
    assert held in found.sentence
    assert f"`sudo nvpmodel -m {fastest}`" in (found.hint or "")


def test_clocks_are_reported_only_in_the_fastest_power_mode() -> None:
    maxn = {"power_mode": "MAXN_SUPER", "power_modes": SUPER_MODES}
    assert codes(board(**maxn, clocks_locked=False)) == ["clocks"]
    assert codes(board(**maxn, clocks_locked=None)) == []
    assert codes(board(power_mode="9", power_modes=SUPER_MODES)) == []


def test_a_processor_kept_at_its_lowest_clock() -> None:
    assert codes(gpu(cpu_kept_slow=True)) == ["cpu_governor"]
    assert codes(gpu(cpu_kept_slow=False)) == []


CACHED = {"page_cache_bytes": 3 * GIB, "memory_available_bytes": 6 * GIB}


@pytest.mark.parametrize(
    ("facts", "needed_bytes", "in_the_way"),
    [
        (CACHED, None, True),
        (CACHED, 4 * GIB, True),
        (CACHED, 3 * GIB, False),
        (CACHED | {"page_cache_bytes": 200 * MIB}, None, False),
        (CACHED | {"page_cache_counts_as_used": False}, None, False),
        (CACHED | {"page_cache_bytes": None}, None, False),
        (CACHED | {"assumed": True}, None, False),
    ],
)
def test_when_the_page_cache_is_in_the_way(
    facts: dict[str, object], needed_bytes: int | None, in_the_way: bool
) -> None:
    assert page_cache_in_the_way(board(**facts), needed_bytes) is in_the_way


async def test_the_page_cache_is_dropped_and_the_freed_size_reported(tmp_path: Path) -> None:
    """Pipes stand for the kernel's files: each is answered in its turn, and in no other order."""
    meminfo, drop = tmp_path / "proc/meminfo", tmp_path / "proc/sys/vm/drop_caches"
    drop.parent.mkdir(parents=True)
    os.mkfifo(meminfo)
    os.mkfifo(drop)
    heard: list[str] = []

    def kernel() -> None:
        meminfo.write_text("MemTotal:  7802880 kB\nMemFree:  1048576 kB\n")
        heard.append(drop.read_text())
        meminfo.write_text("MemTotal:  7802880 kB\nMemFree:  3250586 kB\n")

    thread = threading.Thread(target=kernel)
    thread.start()
    found = await check(board(**CACHED, storage="sd"), root=tmp_path)
    thread.join()
    assert heard == ["3\n"]
    assert found[0] == Finding(
        "page_cache_dropped",
        Message("device.page_cache_dropped", freed_bytes=(3250586 - 1048576) * 1024, l4t_version="36.4.3"),
        (3250586 - 1048576) * 1024,
    )
    assert found[0].sentence == "Freed 2.10 GiB of page cache, which CUDA counts as used memory on L4T 36.4.3."
    assert found[0].hint is None
    assert [finding.code for finding in found[1:]] == ["slow_storage"]


async def test_without_permission_the_command_is_shown(tmp_path: Path) -> None:
    (found,) = await check(board(**CACHED), root=tmp_path)
    assert (found.code, found.size_bytes) == ("page_cache", 3 * GIB)
    assert found.sentence.startswith("CUDA counts 3.00 GiB of page cache as used memory on L4T 36.4.3.")
    assert found.hint == "Free the page cache: `sync; echo 3 | sudo tee /proc/sys/vm/drop_caches`."


async def test_the_page_cache_stays_where_it_does_not_count(tmp_path: Path) -> None:
    drop = tmp_path / "proc/sys/vm/drop_caches"
    drop.parent.mkdir(parents=True)
    drop.write_text("")
    newer = board(**CACHED, l4t_version="39.2.0", page_cache_counts_as_used=False)
    assert await check(newer, root=tmp_path) == []
    assert await check(board(**CACHED), needed_bytes=GIB, root=tmp_path) == []
    assert drop.read_text() == ""


def test_every_finding_can_be_said_in_chinese() -> None:
    found = [
        *findings(
            board(
                gpu_stale_bytes=GIB,
                other_processes=(OtherProcess("java", 812, 2 * GIB, "jenkins.service"), OtherProcess("ollama", 9, GIB)),
                desktop_bytes=GIB,
                disk_free_bytes=100 * MIB,
                storage="sd",
                swap_areas=(SwapArea("/swap", GIB, "usb"),),
                power_mode="15W",
                power_modes=SUPER_MODES,
                cpu_kept_slow=True,
            ),
            GIB,
        )
    ]
    sentences = [say(finding.message, "zh") for finding in found]
    assert len(sentences) == 9
    assert "这里还运行着另一个引擎：Ollama（9）占用 1.00 GiB。它会占用模型的内存并降低速度。" in sentences
    assert "模型存放在 SD 卡上：读取 1.00 GiB 权重约需 16 秒。" in sentences
    assert (
        "开发板运行在功率模式 15W，而不是 MAXN_SUPER。此模式限制了时钟频率：GPU 612 MHz、内存 2,133 MHz。" in sentences
    )


def test_a_real_process_is_named_with_what_it_holds(tmp_path: Path) -> None:
    """The kernel's own files of one process, on a machine of 4 GiB."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4194304 kB\nMemAvailable: 3145728 kB\n")
    code = "held = bytearray(b'x') * (300 * 1024**2); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (tmp_path / f"proc/{child.pid}").symlink_to(f"/proc/{child.pid}")
        found = only(read_device(tmp_path))
        child.communicate(b"\n")
    assert f"({child.pid}) 0.30 GiB holds memory that the model could use." in found.sentence
    assert found.hint is not None
