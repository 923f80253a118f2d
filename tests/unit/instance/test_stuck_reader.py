"""`vedette down` while a file server keeps a reader waiting: vedette ends by itself, and is not killed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rig.processes import clean_environment, free_port, run_vedette
from vedette.instance.lock import find
from vedette.settings.home import read_home

pytestmark = pytest.mark.processes


STUCK = """
import sys, threading
from vedette.models.store import model_lookup
def read_model(*_):
    print("reading", flush=True)
    threading.Event().wait()
model_lookup.read_model = read_model
sys.argv = ["vedette", *sys.argv[1:]]
from vedette.cli.main import main
main()
"""
"""A vedette whose reading of a model never ends."""
STARTED_WITHIN_S = 60


def test_down_does_not_wait_for_a_stuck_reader(tmp_path: Path) -> None:
    home = read_home({"VEDETTE_HOME": str(tmp_path / "home")})
    words = ("up", "vedette-tiny", "--json", "--port", str(free_port()))
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, *words],
        env=clean_environment(home.data, {}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + STARTED_WITHIN_S
        while process.stdout.readline() != "reading\n":
            assert time.monotonic() < deadline
            assert process.poll() is None
        assert find(home) is not None
        stopped = run_vedette(home.data, "down", within_s=30)
        assert stopped.returncode == 0, stopped
        assert process.wait(10) >= 0, "it was killed"
    finally:
        process.kill()
        process.communicate()
    assert not (home.state / "instance.json").exists()
