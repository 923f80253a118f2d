"""A vedette that runs the vLLM of a user's own environment, named by a wrapper script around its interpreter."""

import shlex
from pathlib import Path

from tests.rig.chat import ask, question
from tests.rig.leftovers import engine_processes
from tests.rig.processes import Vedette, vedette_running
from vedette.engine.hosts.environment import Environment, find_damage
from vedette.engine.hosts.recipes import CPU_RECIPE


async def test_a_users_own_vllm_serves_and_stays_unchanged(
    running_vedette: Vedette, check_home: Path, tmp_path: Path
) -> None:
    running_vedette.wait_until_ready()
    made = Environment(check_home / "engines" / CPU_RECIPE.name, CPU_RECIPE)
    wrapper = tmp_path / "theirs" / "bin" / "python"
    wrapper.parent.mkdir(parents=True)
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(str(made.python))} "$@"\n')
    wrapper.chmod(0o755)
    home = tmp_path / "home"
    with vedette_running(home, environment={"VEDETTE_ENGINE": str(tmp_path / "theirs")}) as vedette:
        vedette.wait_until_ready()
        engine = vedette.status()["plan"]["engine"]
        assert (engine["kind"], engine["version"]) == ("environment", "0.32.0+cpu")
        code, answer = await ask(vedette, question(text="Say hello."))
        assert code == 200
        assert answer["choices"][0]["message"]["content"]
    assert engine_processes(home) == []
    assert not (home / "engines").exists()
    assert find_damage(made) is None
