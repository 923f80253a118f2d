"""`vedette up` from start to end, and whatever may go wrong with its processes, killed for real."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import engine_processes, free_port, run_vedette, start_vedette, vedette_running


def abandoned_shared_memory() -> set[str]:
    """Shared memory that no living process maps."""
    mapped = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mapped |= {area.path for area in process.memory_maps()}
    return {str(path) for path in Path("/dev/shm").glob("psm_*")} - mapped


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def assert_nothing_left(home: Path, port: int) -> None:
    assert engine_processes(home) == []
    assert port_is_free(port)
    assert {path.name for path in (home / "run").iterdir()} <= {"engine.log", "engine.log.1", "server.log"}


def wait_for_state(home: Path, state: str, within_s: float = 180) -> None:
    deadline = time.monotonic() + within_s
    while (now := json.loads(run_vedette(home, "status", "--json").stdout)["state"]) != state:
        assert time.monotonic() < deadline, f"still {now}"
        time.sleep(0.2)


@pytest.fixture
def nothing_runs(check_home: Path) -> Iterator[None]:
    yield
    run_vedette(check_home, "down")


@pytest.mark.usefixtures("nothing_runs")
def test_detached_up_serves_survives_a_kill_of_its_engine_and_goes_down(check_home: Path) -> None:
    before = abandoned_shared_memory()
    port = free_port()
    up = run_vedette(check_home, "up", "vedette-tiny", "--detach", "--port", str(port), within_s=900)
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"http://127.0.0.1:{port}/" in up.stdout
    assert run_vedette(check_home, "status").stdout.startswith("ready")

    second = run_vedette(check_home, "up", "--port", str(free_port()))
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert run_vedette(check_home, "status").returncode == 0, "the second up did harm"

    (core,) = (process for process in engine_processes(check_home) if process.name().startswith("VLLM::EngineCor"))
    core.kill()
    wait_for_state(check_home, "failed")
    wait_for_state(check_home, "ready")

    began = time.monotonic()
    down = run_vedette(check_home, "down")
    assert down.returncode == 0
    assert time.monotonic() - began < 10
    assert_nothing_left(check_home, port)
    assert abandoned_shared_memory() <= before
    assert run_vedette(check_home, "down").returncode == 1
    assert run_vedette(check_home, "status").returncode == 3


def test_a_killed_vedette_takes_its_engine_along_and_the_next_up_starts(check_home: Path) -> None:
    running = start_vedette(check_home, ["vedette-tiny"])
    running.wait_for(lambda event: event.get("phase") == "loading weights")
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    assert run_vedette(check_home, "status").returncode == 3
    with vedette_running(check_home, "vedette-tiny") as again:
        again.wait_for(lambda event: event.get("phase") == "launching engine")
        parents = {process.ppid() for process in engine_processes(check_home)}
        assert again.process.pid in parents
        assert not any(pid == 1 for pid in parents), "an engine of the killed vedette still runs"


def test_ctrl_c_while_starting_leaves_nothing(check_home: Path) -> None:
    running = start_vedette(check_home, ["vedette-tiny"])
    running.wait_for(lambda event: event.get("phase") == "launching engine")
    time.sleep(2)
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    running.process.wait(15)
    assert time.monotonic() - began < 10
    assert running.process.returncode == 0
    assert_nothing_left(check_home, running.port)


def test_an_interrupted_installation_is_remade_not_trusted(tmp_path: Path) -> None:
    running = start_vedette(tmp_path, ["vedette-tiny"])
    running.wait_for(lambda event: "resolving" in (event.get("detail") or ""), within_s=60)
    children = psutil.Process(running.process.pid).children(recursive=True)
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    psutil.wait_procs(children, timeout=10)
    with vedette_running(tmp_path, "vedette-tiny") as again:
        event = again.wait_for(lambda event: (event.get("detail") or "").startswith("remaking"), within_s=60)
        assert "not finished" in event["detail"]
