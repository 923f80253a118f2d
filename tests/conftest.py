"""A real vedette for the engine and browser layers; nothing of it is left afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Vedette, engine_processes, vedette_running

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def check_home() -> Path:
    """The home whose engine environment the layers share; ./check names it."""
    home = Path(os.environ.get("VEDETTE_CHECK_HOME") or ROOT / ".cache" / "check")
    home.mkdir(parents=True, exist_ok=True)
    return home.absolute()


@pytest.fixture(scope="session")
def running_vedette(check_home: Path) -> Iterator[Vedette]:
    """`vedette up` on the model that comes with it, ready."""
    with vedette_running(check_home, "vedette-tiny") as running:
        running.wait_until_ready()
        yield running
    assert engine_processes(check_home) == []
