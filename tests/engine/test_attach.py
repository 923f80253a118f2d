"""A vedette that serves through an external server: another vedette with vLLM behind it."""

import json
from pathlib import Path

from tests.rig.chat import ask, image_part, question
from tests.rig.processes import Vedette, run_vedette, vedette_running


async def test_the_model_of_an_external_server_is_served(running_vedette: Vedette, tmp_path: Path) -> None:
    direct = running_vedette.status()
    with vedette_running(tmp_path, environment={"VEDETTE_ENGINE": f"{running_vedette.url}/v1"}) as attached:
        attached.wait_until_ready()
        (note,) = (event["sentence"] for event in attached.events if event["event"] == "note")
        assert f"{direct['plan']['context']['max_model_len']:,} tokens of context, pictures up to" in note
        status = attached.status()
        assert (status["model"], status["engine_pid"], status["plan"]) == ("vedette-tiny", None, None)

        body = question(image_part(7))
        answers = [await ask(vedette, body) for vedette in (running_vedette, attached)]
        assert [code for code, _ in answers] == [200, 200]
        first, second = (answer["choices"][0]["message"]["content"] for _, answer in answers)
        assert first == second
        assert run_vedette(tmp_path, "down").returncode == 0
    assert running_vedette.status()["state"] == "ready"
    assert json.loads(run_vedette(tmp_path, "status", "--json").stdout)["state"] == "stopped"
