"""What vedette finds in its run directory: nothing that another user may have put there is believed."""

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.rig.processes import clean_environment, command, free_port, run_vedette
from vedette.engine.hosts.container_record import end_container
from vedette.engine.process.workplace import find_processes
from vedette.errors import ConfigError, NotRunningError
from vedette.instance.lock import clean, find, stop
from vedette.settings.home import Home, read_home

pytestmark = pytest.mark.processes


NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return read_home({"VEDETTE_HOME": str(tmp_path / "home")})


@pytest.fixture
def bystander() -> "Iterator[subprocess.Popen[bytes]]":
    """A process of this user that is no vedette."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def forge(home: Home, pid: int) -> None:
    record = {"pid": pid, "began": psutil.Process(pid).create_time(), "url": "http://127.0.0.1:1"}
    path = home.state / "instance.json"
    path.write_text(json.dumps(record))
    path.chmod(0o600)


def test_a_record_that_names_another_process_ends_nothing(home: Home, bystander: "subprocess.Popen[bytes]") -> None:
    (home.state / "lock").touch()
    forge(home, bystander.pid)
    assert find(home) is None
    with pytest.raises(NotRunningError):
        stop(home)
    assert bystander.poll() is None


def test_down_leaves_it_alone_too(home: Home, bystander: "subprocess.Popen[bytes]") -> None:
    home.state.chmod(0o777)
    forge(home, bystander.pid)
    result = run_vedette(home.data, "down", within_s=30)
    assert (result.returncode, bystander.poll()) == (1, None)
    assert "vedette is not running" in result.stderr
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700


@pytest.mark.parametrize("odd", ["fifo", "link", "open to all"])
def test_an_odd_record_is_no_record(home: Home, bystander: "subprocess.Popen[bytes]", odd: str) -> None:
    forge(home, os.getpid())
    path = home.state / "instance.json"
    with (home.state / "lock").open("w"):
        assert find(home) is not None, "this process has the lock open"
        if odd == "fifo":
            path.unlink()
            os.mkfifo(path)
        elif odd == "link":
            path.rename(home.data / "elsewhere")
            path.symlink_to(home.data / "elsewhere")
        else:
            path.chmod(0o666)
        assert find(home) is None


def test_directories_are_closed_to_others(tmp_path: Path) -> None:
    for name, before, after in (("home", 0o777, 0o755), ("home/run", 0o777, 0o700), ("home/cache", 0o775, 0o755)):
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        path.chmod(before)
        read_home({"VEDETTE_HOME": str(tmp_path / "home")})
        assert stat.S_IMODE(path.stat().st_mode) == after, name


def test_links_in_a_run_directory_that_was_open_are_removed(home: Home, tmp_path: Path) -> None:
    (home.state / "engine").symlink_to(tmp_path)
    (home.state / "mine").touch()
    home.state.chmod(0o777)
    read_home({"VEDETTE_HOME": str(home.data)})
    assert [path.name for path in home.state.iterdir()] == ["mine"]
    clean(home)
    assert tmp_path.exists()


@as_root
def test_a_directory_of_another_user_is_refused(home: Home) -> None:
    for path in (home.data, home.state, home.cache):
        os.chown(path, NOBODY, -1)
        with pytest.raises(ConfigError, match=f"{path} belongs to another user"):
            read_home({"VEDETTE_HOME": str(home.data)})
        os.chown(path, 0, -1)
    home.engines.mkdir()
    os.chown(home.engines, NOBODY, -1)
    with pytest.raises(ConfigError, match="engines belongs to another user"):
        read_home({"VEDETTE_HOME": str(home.data)})


@as_root
def test_what_others_put_into_an_open_run_directory_is_removed(home: Home) -> None:
    foreign = home.state / "engine" / "1"
    foreign.mkdir(parents=True)
    os.chown(home.state / "engine", NOBODY, -1)
    home.state.chmod(0o777)
    read_home({"VEDETTE_HOME": str(home.data)})
    assert not (home.state / "engine").exists()


def test_a_record_that_others_could_write_runs_no_program(home: Home, tmp_path: Path) -> None:
    place = home.workplace / "1"
    place.mkdir(parents=True)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    (place / "container.json").write_text(json.dumps([str(program), "vedette-1"]))
    (place / "container.json").chmod(0o666)
    end_container(place)
    assert not (tmp_path / "ran").exists()
    (place / "container.json").chmod(0o600)
    end_container(place)
    assert (tmp_path / "ran").exists()


@as_root
def test_the_processes_of_another_user_are_none_of_the_engines(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:2]:
        with contextlib.suppress(OSError):
            parent.chmod(0o755)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    own = subprocess.Popen(sleep, cwd=tmp_path)
    other = subprocess.Popen(["sleep", "600"], cwd=tmp_path, user=NOBODY)
    try:
        assert [process.pid for process in find_processes(tmp_path)] == [own.pid]
    finally:
        for process in (own, other):
            process.kill()
            process.wait()


def open_umask() -> None:
    os.umask(0)


def test_a_umask_that_takes_nothing_away_gives_no_file_to_others(tmp_path: Path) -> None:
    """A start that fails: its log and its directories are there, and nobody else's."""
    home = tmp_path / "home"
    result = subprocess.run(
        command("up", "--detach", str(tmp_path / "nothing"), "--port", str(free_port())),
        env=clean_environment(home, {}),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=open_umask,
    )
    assert result.returncode == 1
    assert "is not a readable directory" in result.stdout
    modes = {str(path.relative_to(home)): stat.S_IMODE(path.stat().st_mode) for path in (home, *home.rglob("*"))}
    assert "run/server.log" in modes
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@as_root
def test_a_start_in_the_background_says_that_the_disk_is_full(small_disk: Path) -> None:
    home = read_home({"VEDETTE_HOME": str(small_disk / "home")})
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"\0" * 4096):
            pass
    result = run_vedette(home.data, "up", "--detach", "vedette-tiny", "--port", str(free_port()), within_s=60)
    assert result.returncode == 1
    assert "disk is full" in result.stderr.lower(), result
    assert "Traceback" not in result.stderr
