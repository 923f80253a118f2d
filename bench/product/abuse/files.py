"""Attacks by files: models that are no files, a forged record of a running vedette, names that look like options."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil

from bench.product.abuse.target import Effect, Tree, measure_command
from tests.rig.processes import clean_environment, command

TINY = Path(__file__).parents[3] / "src" / "vedette" / "models" / "vedette-tiny"
_OPTION = "a directory named --trust-remote-code"
_RECORD = "down: a forged record in a run directory of mode 777"
PLAN_S = 20.0
"""How long a plan may take: one of a right model takes about a second."""


def a_model(directory: Path) -> Path:
    """A right model's files in a new directory."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(TINY, directory)
    return directory


def with_link(directory: Path, name: str = "config.json", target: str = "/dev/zero") -> Path:
    (a_model(directory) / name).unlink()
    (directory / name).symlink_to(target)
    return directory


def with_fifo(directory: Path, name: str = "config.json") -> Path:
    (a_model(directory) / name).unlink()
    os.mkfifo(directory / name)
    return directory


def with_config(directory: Path, **vision: object) -> Path:
    """A model with other values in the vision part of its configuration."""
    path = a_model(directory) / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"] |= vision
    path.write_text(json.dumps(config))
    return directory


def with_looping_template(directory: Path) -> Path:
    text = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x"
    (a_model(directory) / "chat_template.jinja").write_text(text)
    return directory


MODELS: tuple[tuple[str, Callable[[Path], Path]], ...] = (
    ("config.json links to /dev/zero", with_link),
    ("tokenizer.json links to /dev/zero", lambda place: with_link(place, "tokenizer.json")),
    ("config.json is a FIFO", with_fifo),
    ("tokenizer.json is a FIFO", lambda place: with_fifo(place, "tokenizer.json")),
    ("model.safetensors is a FIFO", lambda place: with_fifo(place, "model.safetensors")),
    ("patch_size 0", lambda place: with_config(place, patch_size=0)),
    ("in_channels 7", lambda place: with_config(place, in_channels=7)),
)


def attacks(tree: Tree) -> Iterator[tuple[str, Callable[[], Effect]]]:
    """Every attack by a file on one tree: its name, and what carries it out."""
    for what, make in MODELS:
        yield f"plan: {what}", partial(_plan, tree, f"plan: {what}", make)
    yield _OPTION, partial(_option_as_a_name, tree)
    yield _RECORD, partial(_forged_record, tree)


def _plan(tree: Tree, name: str, make: Callable[[Path], Path]) -> Effect:
    return measure_command(tree, name, ["plan", str(make(tree.home / "attack"))], PLAN_S)


def _option_as_a_name(tree: Tree) -> Effect:
    place = tree.home / "names"
    a_model(place / "--trust-remote-code")
    result = subprocess.run(
        command("up", "--print", "--json", "--", "--trust-remote-code"),
        cwd=place,
        env=clean_environment(tree.home, tree.environment),
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = json.loads(result.stdout)
    if result.returncode:
        outcome = f"refused ({answer['code']})"
    else:
        outcome = "an option of vLLM" if "--trust-remote-code" in answer["argv"] else "a path"
    return Effect(_OPTION, tree.name, 0, 0, None, 0, 0.0, outcome, is_waited_for=False)


def _forged_record(tree: Tree) -> Effect:
    """`down` with a record, written by another user, that names another process."""
    run = tree.home / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    run.chmod(0o777)
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    began = psutil.Process(victim.pid).create_time()
    record = {"pid": victim.pid, "began": began, "url": "http://127.0.0.1:9"}
    (run / "instance.json").write_text(json.dumps(record))
    with contextlib.suppress(subprocess.TimeoutExpired):
        tree.run("down", within_s=30)
    killed = victim.poll() is not None
    mode = stat.S_IMODE(run.stat().st_mode) if run.exists() else 0
    victim.kill()
    victim.wait()
    outcome = f"the process was {'killed' if killed else 'left alone'}; the directory has mode {mode:03o}"
    return Effect(_RECORD, tree.name, 0, 0, None, 0, 0.0, outcome, is_waited_for=False)
