"""What stands in front of the engine when it starts, and what ends the engine after vedette."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vedette.engine.process import launcher
from vedette.engine.process.process import spawn
from vedette.engine.process.process_command import Command

pytestmark = pytest.mark.processes


STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
PARENT = """
import os, subprocess, sys, time
reading, _ = os.pipe()
launcher, script = sys.argv[1:]
arguments = [sys.executable, "-I", "-S", launcher, str(os.getpid()), str(reading), "0.3", "/bin/sh", "-c", script]
engine = subprocess.Popen(arguments, pass_fds=[reading], stdout=subprocess.PIPE, start_new_session=True)
engine.stdout.readline()
print(engine.pid, flush=True)
time.sleep(60)
"""
"""Starts an engine as vedette does, with a shorter grace period, and prints its process id."""


def group(leader: int) -> set[int]:
    """The processes of an engine's group that still run."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


async def test_the_kernel_is_to_kill_the_engine_before_vedette(tmp_path: Path) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    command = Command(("/bin/cat", "/proc/self/oom_score_adj"), {}, tmp_path / "engine")
    engine = await spawn(command)
    assert engine.stdout is not None
    assert int(await engine.stdout.read()) == max(own, 500)
    assert await engine.wait() == 0
    assert int(Path("/proc/self/oom_score_adj").read_text()) == own


async def test_nothing_of_a_group_stays_after_its_engine(tmp_path: Path) -> None:
    engine = await spawn(Command(("/bin/sleep", "60"), {}, tmp_path / "engine"))
    deadline = time.monotonic() + 10
    while len(group(engine.pid)) < 2:
        assert time.monotonic() < deadline, "no shell waits for vedette's end"
        await asyncio.sleep(0.02)
    engine.kill()
    await engine.wait()
    while group(engine.pid):
        assert time.monotonic() < deadline, "the shell outlived the engine"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "script", [STUBBORN, f"({STUBBORN}) & sleep 60"], ids=["alone", "a child of one that ends in time"]
)
def test_an_engine_that_ignores_the_request_to_end_is_killed_after_vedette(script: str) -> None:
    arguments = [sys.executable, "-c", PARENT, launcher.__file__, script]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as vedette:
        assert vedette.stdout is not None
        engine = int(vedette.stdout.readline())
        assert engine in group(engine)
        vedette.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while group(engine):
        assert time.monotonic() < deadline, "the engine outlived vedette"
        time.sleep(0.02)
