"""A recorded container is found and ended, whichever vedette started it."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from vedette.engine.hosts.container_record import container_processes, end_container, record_container

PARENT = """
import subprocess
child = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
child.wait()
"""


def container_program(root: Path, script: str) -> str:
    """A program that notes the words it is given, and then runs a script."""
    program = root / "docker"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{root}/said"\n{script}\n')
    program.chmod(0o755)
    return str(program)


def said(root: Path) -> list[str]:
    return (root / "said").read_text().splitlines()


def test_a_container_is_asked_to_stop_and_removed(tmp_path: Path) -> None:
    record_container(tmp_path / "engine", container_program(tmp_path, "exit 0"), "vedette-1")
    end_container(tmp_path / "engine")
    assert said(tmp_path) == ["stop -t 4 vedette-1", "rm -f vedette-1"]


def test_a_container_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    record_container(tmp_path / "engine", container_program(tmp_path, 'test "$1" != stop'), "vedette-1")
    end_container(tmp_path / "engine")
    assert said(tmp_path) == ["stop -t 4 vedette-1", "kill vedette-1", "rm -f vedette-1"]


def test_without_a_record_or_its_program_nothing_is_done(tmp_path: Path) -> None:
    end_container(tmp_path / "engine")
    assert container_processes(tmp_path / "engine") == []
    record_container(tmp_path / "engine", str(tmp_path / "removed"), "vedette-1")
    end_container(tmp_path / "engine")
    assert container_processes(tmp_path / "engine") == []
    (tmp_path / "engine" / "container.json").write_text("{")
    end_container(tmp_path / "engine")
    assert container_processes(tmp_path / "engine") == []


def test_a_working_directory_is_for_this_user_only(tmp_path: Path) -> None:
    record_container(tmp_path / "home" / "engine", "docker", "vedette-1")
    assert (tmp_path / "home" / "engine").stat().st_mode & 0o777 == 0o700


def test_the_processes_of_a_container_are_its_first_and_all_below(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child, grandchild = map(int, parent.stdout.readline().split())
        try:
            record_container(tmp_path / "engine", container_program(tmp_path, f"echo {parent.pid}"), "vedette-1")
            found: list[int] = []
            while not found:  # on a busy machine the program takes longer than it is waited for
                found = [process.pid for process in container_processes(tmp_path / "engine")]
            assert found == [parent.pid, child, grandchild]
            assert set(said(tmp_path)) == {"container inspect --format {{.State.Pid}} vedette-1"}
            for stopped in ("echo 0", "exit 1", "echo nothing", f"echo {parent.pid}; exit 1"):
                record_container(tmp_path / "engine", container_program(tmp_path, stopped), "vedette-1")
                assert container_processes(tmp_path / "engine") == []
        finally:
            for pid in (grandchild, child):
                with contextlib.suppress(ProcessLookupError):  # the child ends with the grandchild
                    os.kill(pid, signal.SIGKILL)
            parent.kill()
