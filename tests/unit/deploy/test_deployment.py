"""A deployment before its engine is started."""

from pathlib import Path
from typing import Any

import pytest

from tests.rig.devices import cpu
from vedette.deploy import proposing
from vedette.deploy.deployment import Deployment
from vedette.engine.state import State
from vedette.errors import EngineFailedError, EngineInstallError
from vedette.events import DeviceRead, Event, ModelChosen
from vedette.settings.home import Home
from vedette.settings.load import read_settings

DEVICE = cpu(6 * 1024**3)


@pytest.mark.parametrize(
    ("wish", "why"), [({"model": "vedette-tiny"}, "deploy.as_asked"), ({}, "deploy.best_that_fits")]
)
async def test_why_a_model_was_chosen_is_told_before_it_is_known_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: dict[str, Any], why: str
) -> None:
    monkeypatch.setattr(proposing, "read_machine", lambda home: DEVICE)
    events: list[Event] = []
    # No image is known for a machine without a GPU.
    settings = read_settings({**wish, "engine": "container"}, {"HOME": str(tmp_path)})
    deployment = Deployment(settings, Home(tmp_path, tmp_path, tmp_path), "http://127.0.0.1:1", events.append)
    assert (deployment.name, deployment.names, deployment.client, deployment.context) == (None, (), None, None)
    with pytest.raises(EngineInstallError):
        await deployment.run()
    read, chosen = events
    assert read == DeviceRead(DEVICE)
    assert isinstance(chosen, ModelChosen)
    assert (chosen.name, chosen.why.code) == (deployment.name, why)
    assert deployment.abandoned
    assert deployment.life.status.state is State.STOPPED
    status = deployment.status
    assert (status.engine_pid, status.plan, status.recovered, status.page_url) == (
        None,
        None,
        (),
        "http://127.0.0.1:1/",
    )
    with pytest.raises(EngineFailedError) as refused:
        await deployment.swap("vedette-tiny")
    assert refused.value.message.code == "deploy.abandoned"
