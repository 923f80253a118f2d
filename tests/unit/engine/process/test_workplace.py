"""Processes are found and ended by their working directory."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from vedette.engine.process.process_command import TEMPORARY
from vedette.engine.process.workplace import end_processes, find_processes, make_workplace

SHARING = """
import mmap, sys
with open(sys.argv[1], "w+b") as file:
    file.truncate(4096)
    memory = mmap.mmap(file.fileno(), 4096)
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(directory: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a directory, which waits until its standard input closes."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command or ("/bin/cat",), cwd=directory, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def pids(workplace: Path) -> set[int]:
    return {process.pid for process in find_processes(workplace)}


def test_processes_in_a_directory_and_below_it_are_found_and_others_not(tmp_path: Path) -> None:
    for name in ("engine/1/tmp", "engine/1-standby"):
        (tmp_path / name).mkdir(parents=True)
    with (
        running(tmp_path / "engine" / "1") as one,
        running(tmp_path / "engine" / "1" / "tmp") as below,
        running(tmp_path / "engine" / "1-standby") as other,
    ):
        assert pids(tmp_path / "engine" / "1") == {one.pid, below.pid}
        assert pids(tmp_path / "engine") == {one.pid, below.pid, other.pid}
        (tmp_path / "link").symlink_to(tmp_path / "engine")
        assert pids(tmp_path / "link" / "1-standby") == {other.pid}
        end_processes(tmp_path / "engine" / "1")
        assert pids(tmp_path / "engine") == {other.pid}


def test_a_process_may_end_by_itself_within_the_grace(tmp_path: Path) -> None:
    with running(tmp_path, "/bin/sh", "-c", "sleep 0.3; echo done") as process:
        end_processes(tmp_path, grace_s=30)
        assert process.stdout is not None
        assert process.stdout.read() == "done\n"


def test_after_the_grace_a_process_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        end_processes(tmp_path, grace_s=0.1)
        assert not psutil.pid_exists(process.pid)


def test_shared_memory_of_killed_processes_is_removed_and_their_files(tmp_path: Path) -> None:
    make_workplace(tmp_path)
    make_workplace(tmp_path)
    assert (tmp_path / TEMPORARY).stat().st_mode & 0o777 == 0o700
    shared = Path("/dev/shm") / f"vedette-test-{tmp_path.name}"
    try:
        with running(tmp_path, sys.executable, "-c", SHARING, str(shared)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert shared.exists()
            end_processes(tmp_path)
            assert not shared.exists()
            assert not (tmp_path / TEMPORARY).exists()
    finally:
        shared.unlink(missing_ok=True)
