"""What real processes do, as the kernel sees them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from vedette.engine.process.vital_signs import VitalSigns, Watched

NAMED = "import ctypes; ctypes.CDLL(None).prctl(15, b'VLLM::EngineCor', 0, 0, 0); print('named', flush=True); "
"""As vLLM names its core."""


@pytest.fixture
def core(request: pytest.FixtureRequest) -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-c", NAMED + request.param], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield psutil.Process(process.pid)
    process.kill()
    process.communicate()


def look(core: psutil.Process) -> VitalSigns:
    watched = Watched(lambda: [core, psutil.Process()], os.getpid())
    watched.look()
    time.sleep(0.2)
    return watched.look()


@pytest.mark.parametrize("core", ["import time; time.sleep(60)"], indirect=True)
def test_a_core_that_sleeps_computes_nothing(core: psutil.Process) -> None:
    assert look(core) == VitalSigns(computes=False, is_stopped=False)


@pytest.mark.parametrize("core", ["\nwhile True: pass"], indirect=True)
def test_a_core_that_computes_is_seen_to(core: psutil.Process) -> None:
    assert look(core) == VitalSigns(computes=True, is_stopped=False)


@pytest.mark.parametrize("core", ["\nwhile True: pass"], indirect=True)
def test_a_stopped_core_is_seen_to_be(core: psutil.Process) -> None:
    core.send_signal(signal.SIGSTOP)
    assert look(core) == VitalSigns(computes=False, is_stopped=True)


COMPILES = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"


@pytest.mark.parametrize("core", [COMPILES], indirect=True)
def test_a_core_that_waits_for_its_compiler_is_at_work(core: psutil.Process) -> None:
    def find() -> list[psutil.Process]:
        return [core, *core.children(recursive=True), psutil.Process()]

    watched = Watched(find, os.getpid())
    watched.look()
    time.sleep(0.3)
    looks = [watched.look().computes, watched.look().computes]
    for child in core.children():
        child.kill()
    assert any(looks)


def test_where_no_core_is_seen_nothing_is_concluded() -> None:
    watched = Watched(lambda: [psutil.Process()], os.getpid())
    assert watched.look().computes


@pytest.mark.parametrize("core", ["import time; time.sleep(60)"], indirect=True)
def test_a_core_that_ended_is_looked_for_again(core: psutil.Process) -> None:
    finds = []
    watched = Watched(lambda: finds.append(core) or list(finds[:1]), os.getpid())  # type: ignore[func-returns-value]
    watched.look()
    core.kill()
    core.wait()
    before = len(finds)
    watched.look()
    watched.look()
    assert len(finds) > before
