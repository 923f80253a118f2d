"""Fixtures that name the server under test."""

import pytest

from tests.rig.processes import Vedette


@pytest.fixture(scope="session")
def engine_url(running_vedette: Vedette) -> str:
    """The address of a running vedette's `/v1`, without a trailing slash."""
    return running_vedette.url


@pytest.fixture(scope="session")
def model_name() -> str:
    return "vedette-tiny"
