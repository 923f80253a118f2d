"""`vedette up` from start to stop, with its processes killed at different moments."""

import json
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.rig.leftovers import engine_processes
from tests.rig.processes import free_port, run_vedette, start_vedette, vedette_running
from vedette.engine.state import Phase
from vedette.models.store.model_lookup import packaged_path

SHARED_MEMORY = Path("/dev/shm")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def assert_nothing_left(home: Path, port: int) -> None:
    assert engine_processes(home) == []
    assert port_is_free(port)
    assert {path.name for path in (home / "run").iterdir()} <= {
        "calibrations",
        "engine.log",
        "engine.log.1",
        "server.log",
    }


def ask_status(home: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(run_vedette(home, "status", "--json").stdout)
    return status


def wait_for_another_engine(home: Path, pid: int, within_s: float = 180) -> None:
    """Returns once an engine other than `pid` serves; the states in between may be too short to be seen."""
    deadline = time.monotonic() + within_s
    while (now := ask_status(home))["state"] != "ready" or now["engine_pid"] == pid:
        assert time.monotonic() < deadline, f"still {now['state']}"
        time.sleep(0.2)


def test_a_detached_up_serves_restarts_a_killed_engine_and_stops(own_home: Path) -> None:
    port = free_port()
    shared = set(SHARED_MEMORY.iterdir())
    up = run_vedette(own_home, "up", "--detach", "--port", str(port), within_s=900)
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"http://127.0.0.1:{port}/" in up.stdout
    assert run_vedette(own_home, "status").stdout.startswith("ready")
    log = (own_home / "run" / "server.log").read_text()

    for arguments in (("--port", str(port)), ("--port", str(free_port())), ("--detach",)):
        second = run_vedette(own_home, "up", *arguments)
        assert second.returncode == 1
        assert "already runs" in second.stderr
    assert run_vedette(own_home, "status").returncode == 0, "the second `up` changed the first one"
    assert (own_home / "run" / "server.log").read_text() == log

    (core,) = (process for process in engine_processes(own_home) if process.name().startswith("VLLM::EngineCor"))
    pid = ask_status(own_home)["engine_pid"]
    core.kill()
    wait_for_another_engine(own_home, pid)

    began = time.monotonic()
    down = run_vedette(own_home, "down")
    assert down.returncode == 0
    assert time.monotonic() - began < 10
    assert_nothing_left(own_home, port)
    assert set(SHARED_MEMORY.iterdir()) <= shared
    assert run_vedette(own_home, "down").returncode == 1
    assert run_vedette(own_home, "status").returncode == 3


def test_the_engine_ends_with_a_killed_vedette_and_the_next_up_starts(own_home: Path) -> None:
    running = start_vedette(own_home, [])
    running.wait_for(lambda event: event.get("phase") == Phase.LOADING.value)
    assert engine_processes(own_home)
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    deadline = time.monotonic() + 60  # long enough for a busy machine
    while engine_processes(own_home):
        assert time.monotonic() < deadline, "the engine outlived vedette"
        time.sleep(0.1)
    assert run_vedette(own_home, "status").returncode == 3
    with vedette_running(own_home) as again:
        again.wait_for(lambda event: event.get("phase") == Phase.LAUNCHING.value)
    assert_nothing_left(own_home, again.port)


def test_down_while_starting_leaves_nothing(own_home: Path) -> None:
    running = start_vedette(own_home, [])
    running.wait_for(lambda event: event.get("phase") == Phase.LAUNCHING.value)
    time.sleep(2)
    began = time.monotonic()
    assert run_vedette(own_home, "down").returncode == 0
    assert time.monotonic() - began < 10
    assert running.process.wait(1) == 0
    assert_nothing_left(own_home, running.port)


def test_ctrl_c_while_starting_leaves_nothing_even_when_pressed_twice(own_home: Path) -> None:
    running = start_vedette(own_home, [])
    running.wait_for(lambda event: event.get("phase") == Phase.LAUNCHING.value)
    time.sleep(2)
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(15) == 0
    assert time.monotonic() - began < 10
    assert_nothing_left(own_home, running.port)


def test_a_model_directory_may_be_relative(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(packaged_path("vedette-tiny"), tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    with vedette_running(own_home, "./mine") as running:
        running.wait_until_ready()
        assert running.status()["model"] == "mine"


def code_of(event: dict[str, Any]) -> str | None:
    """The code of a status's detail."""
    code: str | None = (event.get("detail_message") or {}).get("code")
    return code


def test_an_interrupted_installation_is_made_again(tmp_path: Path) -> None:
    running = start_vedette(tmp_path, [])
    running.wait_for(lambda event: "resolving" in (event.get("detail") or ""), within_s=60)
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    with vedette_running(tmp_path) as again:
        event = again.wait_for(lambda event: code_of(event) == "engine.remaking_environment", within_s=60)
        assert event["detail_message"]["params"]["damage"]["code"] == "engine.damage_unfinished"
        again.wait_for(lambda event: "resolving" in (event.get("detail") or ""), within_s=60)
    assert_nothing_left(tmp_path, again.port)
