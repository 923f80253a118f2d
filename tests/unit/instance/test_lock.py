"""The lock of a home: one vedette at a time, found by others, and nothing left of it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from vedette.errors import AlreadyRunningError, NotRunningError
from vedette.instance import lock
from vedette.instance.lock import clean, find, hold, refuse_second, stop
from vedette.settings.home import Home, read_home

URL = "http://127.0.0.1:1"
HOLDER = """
import signal, sys, time
from vedette.instance.lock import hold
from vedette.settings.home import read_home
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == "stubborn" else lambda *_: sys.exit())
with hold(read_home(), "http://127.0.0.1:1"):
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return read_home({"VEDETTE_HOME": str(tmp_path)})


@pytest.fixture
def holder(home: Home, request: pytest.FixtureRequest) -> "Iterator[subprocess.Popen[bytes]]":
    """Another process that holds the home's lock."""
    kind = getattr(request, "param", "polite")
    environment = {**os.environ, "VEDETTE_HOME": str(home.data)}
    process = subprocess.Popen([sys.executable, "-c", HOLDER, kind], env=environment)
    deadline = time.monotonic() + 30
    while find(home) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def test_who_holds_the_lock_is_found_and_leaves_nothing(home: Home) -> None:
    with hold(home, URL):
        found = find(home)
        assert found is not None
        assert (found.pid, found.url) == (os.getpid(), URL)
    assert find(home) is None
    assert list(home.state.iterdir()) == []


def test_a_second_vedette_is_refused(home: Home, holder: "subprocess.Popen[bytes]") -> None:
    with pytest.raises(AlreadyRunningError, match=rf"on {URL} \(process {holder.pid}\)"):
        refuse_second(home)
    with pytest.raises(AlreadyRunningError), hold(home, URL):
        pass
    found = find(home)
    assert found is not None
    assert found.pid == holder.pid


@pytest.mark.parametrize("holder", ["polite", "stubborn"], indirect=True)
def test_a_vedette_is_stopped_by_force_if_need_be(
    home: Home, holder: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "STOP_WITHIN_S", 1.0)
    assert stop(home).pid == holder.pid
    assert holder.wait(10) is not None
    assert list(home.state.iterdir()) == []


def test_nothing_to_stop_is_said_and_what_a_dead_vedette_left_is_removed(
    home: Home, holder: "subprocess.Popen[bytes]"
) -> None:
    (home.workplace / "1").mkdir(parents=True)
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=home.workplace / "1")
    holder.kill()
    holder.wait()
    with pytest.raises(NotRunningError, match="vedette up"):
        stop(home)
    engine.wait(10)
    assert list(home.state.iterdir()) == []


def test_a_record_of_another_process_with_the_same_number_is_not_believed(home: Home) -> None:
    own = {"pid": os.getpid(), "began": psutil.Process().create_time() - 1, "url": URL}
    for text in (json.dumps(own), "{", "[]", '{"pid": 1}'):
        (home.state / "instance.json").write_text(text)
        assert find(home) is None


def test_cleaning_an_empty_home_does_nothing(home: Home) -> None:
    clean(home)
    assert list(home.state.iterdir()) == []
