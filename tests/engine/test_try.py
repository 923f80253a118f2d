"""`vedette plan --try` with the real engine."""

import json
from pathlib import Path

from tests.rig.leftovers import engine_processes
from tests.rig.processes import run_vedette


def test_a_trial_measures_a_plan_and_leaves_nothing_running(own_home: Path) -> None:
    result = run_vedette(own_home, "plan", "vedette-tiny", "--for", "live", "--try", "--json", within_s=900)
    assert result.returncode == 0, result.stdout + result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert "ready" in [event.get("state") for event in events]
    assert "listening" not in [event["event"] for event in events], "a trial serves no clients"
    found = {each["name"]: each for each in events[-1]["outcomes"]}
    for name in ("KV cache", "processes", "total", "ready after", "decoding"):
        assert found[name]["measured"] > 0, name
    assert abs(found["KV cache"]["measured"] - found["KV cache"]["predicted"]) < 1024**3 / 100
    assert 0.6 < found["total"]["measured"] / found["total"]["predicted"] < 1.1
    assert engine_processes(own_home) == []
    assert not (own_home / "run" / "instance.json").exists()
