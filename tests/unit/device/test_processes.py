"""Who else holds memory: /proc as it is laid out on a board, with what ends, hides or lies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.procfs import add_process, process_status
from vedette.device.device import OtherProcess
from vedette.device.probe import read_device
from vedette.device.processes import parse_process, parse_run_by, read_processes

MIB = 1024**2


def read_other_processes(root: Path, workplace: Path | None) -> tuple[OtherProcess, ...]:
    return read_processes(root, workplace).others


def test_the_three_largest_are_named_the_largest_first(tmp_path: Path) -> None:
    for pid, (name, size) in enumerate([("small", 199), ("Xorg", 400), ("firefox", 1200), ("python3", 300),
                                        ("gnome-shell", 350)], 700):  # fmt: skip
        add_process(tmp_path, pid, process_status(name, size))
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    assert read_device(tmp_path).other_processes == (
        OtherProcess("firefox", 702, 1200 * MIB),
        OtherProcess("Xorg", 701, 400 * MIB),
        OtherProcess("gnome-shell", 704, 350 * MIB),
    )


def test_neither_vedette_nor_its_engine_is_one_of_the_others(tmp_path: Path) -> None:
    workplace = tmp_path / "engine"
    workplace.mkdir()
    add_process(tmp_path, os.getpid(), process_status("vedette", 2000))
    for pid, slot in ((801, "."), (802, "."), (803, "second")):
        add_process(tmp_path, pid, process_status("VLLM::EngineCor", 3000), cwd=workplace / slot)
    add_process(tmp_path, 804, process_status("VLLM::EngineCor", 500), cwd=tmp_path / "another")
    assert [process.pid for process in read_other_processes(tmp_path, workplace)] == [804]
    assert len(read_other_processes(tmp_path, None)) == 3


def test_a_workplace_that_a_link_leads_to_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    (tmp_path / "real/engine").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "real")
    add_process(tmp_path, 801, process_status("VLLM::EngineCor", 3000), cwd=tmp_path / "real/engine")
    assert read_device(tmp_path, workplace=tmp_path / "home/engine").other_processes == ()


def test_processes_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    add_process(tmp_path, 2, "Name:\tkthreadd\nState:\tS (sleeping)\n")
    add_process(tmp_path, 3, "")
    (tmp_path / "proc/4").mkdir()
    (tmp_path / "proc/5").write_text("no directory")
    add_process(tmp_path, 6, process_status("Xorg", 400))
    (tmp_path / "proc/6/cwd").unlink()
    assert read_other_processes(tmp_path, tmp_path / "engine") == (OtherProcess("Xorg", 6, 400 * MIB),)
    assert read_other_processes(tmp_path / "nowhere", None) == ()


def test_mapped_files_are_not_held(tmp_path: Path) -> None:
    """A model mapped from disk is page cache, which the plan already counts as available."""
    add_process(tmp_path, 7, process_status("llama-server", 100, file_mib=4000, shared_mib=50))
    assert read_other_processes(tmp_path, None) == ()
    assert parse_process(7, process_status("postgres", 100, file_mib=20, shared_mib=500)) == OtherProcess(
        "postgres", 7, 600 * MIB
    )


def test_an_old_kernel_tells_only_the_whole() -> None:
    assert parse_process(1, "Name:\tX\nVmRSS:\t  409600 kB\n") == OtherProcess("X", 1, 400 * MIB)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("\x1b[2Jgone", "[2Jgone"),
        ("a\rRssAnon: 9 kB", "aRssAnon: 9 kB"),
        ("a\x85VmRSS: 1 kB", "aVmRSS: 1 kB"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("\x07\x00\x7f", "unnamed"),
        ("Web Content", "Web Content"),
        ("a:b", "a:b"),
    ],
)
def test_a_hostile_name_neither_moves_the_cursor_nor_changes_a_size(tmp_path: Path, given: str, name: str) -> None:
    add_process(tmp_path, 9, process_status(given, 300))
    assert read_other_processes(tmp_path, None) == (OtherProcess(name, 9, 300 * MIB),)


def test_a_name_that_is_not_text_is_read(tmp_path: Path) -> None:
    add_process(tmp_path, 9, "")
    (tmp_path / "proc/9/status").write_bytes(process_status("caf?", 300).encode().replace(b"?", b"\xe9"))
    assert read_other_processes(tmp_path, None) == (OtherProcess("caf\ufffd", 9, 300 * MIB),)


def test_a_real_process_is_found_with_what_it_holds() -> None:
    code = "held = bytearray(b'x') * (2 * 1024**3 // 10); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        text = Path(f"/proc/{child.pid}/status").read_text()
        child.communicate(b"\n")
    found = parse_process(child.pid, text)
    assert found is not None
    assert 2 * 1024**3 // 10 <= found.resident_bytes < 400 * MIB


def test_a_desktop_is_what_its_many_processes_hold_together(tmp_path: Path) -> None:
    session = {"Xorg": 95, "gnome-shell": 310, "gsd-color": 20, "gdm-x-session": 10, "nautilus": 30, "ibus-daemon": 15}
    for pid, (name, size) in enumerate(session.items(), 600):
        add_process(tmp_path, pid, process_status(name, size))
    add_process(tmp_path, 700, process_status("python3", 900))
    assert read_processes(tmp_path, None).desktop_bytes == sum(session.values()) * MIB


def test_no_display_server_is_no_desktop(tmp_path: Path) -> None:
    add_process(tmp_path, 600, process_status("gnome-keyring-d", 20))
    assert read_processes(tmp_path, None).desktop_bytes == 0
    assert read_processes(tmp_path / "nowhere", None).desktop_bytes is None


CONTAINER = "3f2a1b4c5d6e" + "7" * 52


@pytest.mark.parametrize(
    ("cgroups", "run_by"),
    [
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", "docker 3f2a1b4c5d6e"),
        (f"12:memory:/docker/{CONTAINER}\n1:name=systemd:/docker/{CONTAINER}\n", "docker 3f2a1b4c5d6e"),
        (f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n", "podman 3f2a1b4c5d6e"),
        ("0::/system.slice/ollama.service\n", "ollama.service"),
        ("0::/system.slice/system-llama.slice/llama@qwen.service\n", "llama@qwen.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/firefox.scope\n", None),
        ("0::/system.slice/evil;reboot.service\n", None),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_who_started_a_process(tmp_path: Path, cgroups: str, run_by: str | None) -> None:
    assert parse_run_by(cgroups) == run_by
    add_process(tmp_path, 7, process_status("ollama", 900))
    (tmp_path / "proc/7/cgroup").write_text(cgroups)
    assert read_other_processes(tmp_path, None) == (OtherProcess("ollama", 7, 900 * MIB, run_by),)


@pytest.mark.parametrize(("limit_mib", "names"), [(4096, ["inside", "below"]), (8192, ["outside", "inside", "below"])])
def test_in_a_memory_cgroup_only_those_inside_take_of_its_memory(
    tmp_path: Path, limit_mib: int, names: list[str]
) -> None:
    """Unless the whole machine leaves even less."""
    for pid, (name, size) in enumerate([("outside", 3000), ("inside", 1000), ("below", 500)], 700):
        add_process(tmp_path, pid, process_status(name, size))
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 6291456 kB\n")
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("0::/box\n")
    box = tmp_path / "sys/fs/cgroup/box"
    (box / "deeper").mkdir(parents=True)
    (box / "memory.max").write_text(f"{limit_mib * MIB}\n")
    (box / "memory.current").write_text(f"{1500 * MIB}\n")
    (box / "cgroup.procs").write_text("701\n")
    (box / "deeper/cgroup.procs").write_text("702\n")
    assert [process.name for process in read_device(tmp_path).other_processes] == names


SERVE = ("serve", "/models/some", "--host", "127.0.0.1", "--port", "8000")


@pytest.mark.parametrize(
    ("port", "names"), [("8000", []), ("9000", ["VLLM::EngineCor"]), ("7000", ["VLLM::EngineCor"])]
)
def test_the_engine_in_vedettes_own_container_is_none_of_the_others(
    tmp_path: Path, port: str, names: list[str]
) -> None:
    """The command that waits for the container runs in the workplace; the container's processes do not."""
    workplace = tmp_path / "engine"
    command = ("docker", "run", "--name", "vedette-1", "image", "vllm", *SERVE[:-1], port)
    box = f"0::/system.slice/docker-{CONTAINER}.scope\n"
    for pid, name, size, cwd, cgroup, words in (
        (50, "docker", 30, workplace / "first", "0::/user.slice\n", command),
        (60, "vllm", 150, Path("/workspace"), box, ("python3", "/usr/local/bin/vllm", *SERVE)),
        (61, "VLLM::EngineCor", 900, Path("/workspace"), box, ("VLLM::EngineCore",)),
    ):
        add_process(tmp_path, pid, process_status(name, size), cwd=cwd)
        (tmp_path / f"proc/{pid}/cgroup").write_text(cgroup)
        (tmp_path / f"proc/{pid}/cmdline").write_text("\0".join(words) + "\0")
    assert [process.name for process in read_other_processes(tmp_path, workplace)] == names


def test_the_engine_of_another_vedette_is_told_from_other_engines(
    tmp_path: Path,
) -> None:
    theirs, strange = tmp_path / "theirs" / "run", tmp_path / "strange"
    for state, pid in ((theirs, 801), (strange, 802)):
        (state / "engine" / "1").mkdir(parents=True)
        add_process(tmp_path, pid, process_status("VLLM::EngineCor", 3000 - pid), cwd=state / "engine" / "1")
    (theirs / "instance.json").touch()
    add_process(tmp_path, 803, process_status("VLLM::EngineCor", 300), cwd=theirs / "engine" / "logs")
    found = {process.pid: process.run_by for process in read_other_processes(tmp_path, tmp_path / "ours")}
    assert found == {801: f"vedette {theirs}", 802: None, 803: None}
