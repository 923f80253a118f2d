"""The examples, run as their first lines say, against a real vedette."""

import configparser
import json
import os
import shlex
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import pytest

from tests.rig.leftovers import engine_processes
from tests.rig.processes import Vedette, clean_environment, free_port, stop_process
from tests.rig.systemd_units import complaints

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*command: str | Path) -> str:
    """Run an example to its end and return what it printed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def client_python(check_home: Path) -> Path:
    """The interpreter of an environment with the clients that the examples use, made once for its requirements."""
    requirements = ROOT / "requirements" / "examples.txt"
    place = check_home / "cache" / "examples"
    python, made_for = place / "bin" / "python", place / "made-for.txt"
    if not made_for.exists() or made_for.read_bytes() != requirements.read_bytes():
        venv.create(place, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        install = [*pip, "install", "-q", "--no-deps", "--require-hashes", "-r", str(requirements)]
        subprocess.run(install, check=True, timeout=600)
        made_for.write_bytes(requirements.read_bytes())
    return python


def test_curl(engine_url: str) -> None:
    text = run(EXAMPLES / "curl.sh", engine_url)
    health, models, answer, stream = (part.split("\n", 1)[1] for part in text.split("# ")[1:])
    assert '"vedette-tiny"' in models
    assert '"content":"' in answer
    assert stream.rstrip().endswith("data: [DONE]")
    assert health.strip()


@pytest.mark.parametrize(("name", "lines"), [("openai_client.py", 1), ("langchain_chat.py", 2)])
def test_clients(name: str, lines: int, engine_url: str, client_python: Path) -> None:
    answers = run(client_python, EXAMPLES / name, engine_url).splitlines()
    assert len(answers) == lines
    assert all(answer.endswith(".") for answer in answers), answers


def test_the_live_socket_is_watched(engine_url: str) -> None:
    lines = run(sys.executable, EXAMPLES / "watch_socket.py", engine_url, "--answers", "2").splitlines()
    assert len(lines) == 2
    assert all(" ms  " in line and line.endswith(".") for line in lines), lines


def test_the_unit_is_valid_and_its_command_serves(running_vedette: Vedette, own_home: Path, tmp_path: Path) -> None:
    """As systemd would run it, with this vedette in the place of ~/vedette."""
    running_vedette.wait_until_ready()  # so that the engine is there
    program = tmp_path / "vedette" / "vedette"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m vedette "$@"\n')
    program.chmod(0o755)
    text = (EXAMPLES / "vedette.service").read_text().replace("%h", str(tmp_path))
    assert complaints(text, False, tmp_path) == []
    service = configparser.ConfigParser(interpolation=None, strict=False)
    service.optionxform = str  # type: ignore[assignment,method-assign]
    service.read_string(text)
    command = shlex.split(service["Service"]["ExecStart"])
    name, _, value = service["Service"]["Environment"].partition("=")
    port = free_port()
    variables = {name: value, "VEDETTE_PORT": str(port), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    environment = clean_environment(own_home, variables)
    with subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any(json.loads(line)["event"] == "ready" for line in process.stdout)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
                assert answer.status == 200
        finally:
            stop_process(process)
    assert engine_processes(own_home) == []
