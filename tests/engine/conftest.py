"""What the engine layer's tests talk to."""

import pytest

from tests.rig.processes import Vedette


@pytest.fixture(scope="session")
def engine_url(running_vedette: Vedette) -> str:
    """Where `/v1` of a running vedette is, without a trailing slash."""
    return running_vedette.url


@pytest.fixture(scope="session")
def model_name() -> str:
    return "vedette-tiny"
