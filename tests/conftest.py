"""The profile of property tests; a real vedette for the engine and browser layers, of which nothing is left."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.rig import properties  # noqa: F401 - registers the profiles
from tests.rig.leftovers import engine_processes
from tests.rig.processes import Vedette, run_vedette, vedette_running

settings.load_profile("check")
# Models that this machine's user has downloaded with other programs are none of a test's.
os.environ |= {"HF_HUB_CACHE": "/nonexistent/hub", "MODELSCOPE_CACHE": "/nonexistent/modelscope"}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def check_home() -> Path:
    """The home whose engine environment the layers share; ./check names it."""
    home = Path(os.environ.get("VEDETTE_CHECK_HOME") or ROOT / ".cache" / "check")
    home.mkdir(parents=True, exist_ok=True)
    return home.absolute()


@pytest.fixture
def own_home(check_home: Path, tmp_path: Path) -> Iterator[Path]:
    """A home of a test's own that shares only the engine's environment; nothing runs from it afterwards."""
    engines = check_home / "engines"
    engines.mkdir(exist_ok=True)
    home = tmp_path / "home"
    home.mkdir()
    (home / "engines").symlink_to(engines)
    yield home
    run_vedette(home, "down")
    assert engine_processes(home) == []


@pytest.fixture(scope="session")
def running_vedette(check_home: Path) -> Iterator[Vedette]:
    """A plain `vedette up`, ready: without a GPU it chooses the model that comes with it."""
    with vedette_running(check_home) as running:
        running.wait_until_ready()
        yield running
    assert engine_processes(check_home) == []
