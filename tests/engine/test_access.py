"""Who may what at a real vedette: its owner, this machine, a relay on it, another machine. Its engine is a stand-in."""

import json
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

from tests.rig.network import HERE, can_make_neighbours, neighbour, relay
from tests.rig.processes import Vedette, free_port, run_vedette, vedette_running
from tests.rig.stand_ins.app_on_a_thread import AppOnAThread

CHAT = {"model": "vedette-tiny", "messages": [{"role": "user", "content": "hi"}]}
NONE: Mapping[str, str] = MappingProxyType({})
ASK = """
import json, ssl, sys, urllib.error, urllib.request
url, key, body = sys.argv[1:4]
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None
context = ssl._create_unverified_context()
opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context))
request = urllib.request.Request(url, body.encode() or None, {"x-api-key": key} if key else {})
try:
    print(opener.open(request, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
"""Prints the status of an answer."""


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """The address of something that answers like an engine."""
    app = AppOnAThread()
    yield app.upstream.url
    app.close()


def fetch(url: str, body: object = None, headers: Mapping[str, str] = NONE) -> tuple[int, str]:
    """The status and the text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def owner_key(running: Vedette) -> str:
    return (running.home / "access" / "owner.key").read_text().strip()


def test_on_loopback_all_may_ask_and_the_owner_may_change(engine: str, tmp_path: Path) -> None:
    with vedette_running(tmp_path, "--engine", engine) as running:
        running.wait_until_ready()
        assert fetch(f"{running.url}/v1/chat/completions", CHAT)[0] == 200
        with relay(running.port) as port:  # a neighbour that looks local
            assert fetch(f"http://127.0.0.1:{port}/v1/models")[0] == 200
            status, answer = fetch(f"http://127.0.0.1:{port}/api/swap", {"model": "/etc"})
            assert (status, json.loads(answer)["error"]["code"]) == (403, "forbidden")
        swapped = run_vedette(tmp_path, "swap", "vedette-tiny")
        assert swapped.returncode == 0, swapped.stderr
        key = owner_key(running)
        headers = {"Authorization": f"Bearer {key}"}
        assert fetch(f"{running.url}/api/swap", {"model": "vedette-tiny"}, headers)[0] == 200
        opened = run_vedette(tmp_path, "open")
        assert opened.stdout.strip() == f"{running.url}/#key={key}"
        # The key is in no event, log, status or command line.
        assert key not in json.dumps(running.events)
        assert key not in run_vedette(tmp_path, "status", "--json").stdout
        assert key not in run_vedette(tmp_path, "open", "--json").stdout
        assert key not in " ".join(psutil.Process(running.process.pid).cmdline())
        for path in (tmp_path / "run").rglob("*"):
            assert not path.is_file() or key.encode() not in path.read_bytes()


def test_keys_are_made_used_counted_and_revoked(engine: str, tmp_path: Path) -> None:
    with vedette_running(tmp_path, "--engine", engine, "--require-key") as running:
        running.wait_until_ready()
        asked = f"{running.url}/v1/chat/completions"
        assert fetch(asked, CHAT)[0] == 401
        made = json.loads(run_vedette(tmp_path, "keys", "add", "anna", "--role", "use", "--json").stdout)
        headers = {"x-api-key": made["key"]}
        assert fetch(asked, CHAT, headers)[0] == 200
        assert fetch(f"{running.url}/api/swap", {"model": "vedette-tiny"}, headers)[0] == 403
        assert json.loads(run_vedette(tmp_path, "status", "--json").stdout)["state"] == "ready"
        listed = run_vedette(tmp_path, "keys", "list")
        assert re.search(r"anna +use", listed.stdout)
        assert made["key"] not in listed.stdout
        assert run_vedette(tmp_path, "keys", "revoke", "anna").returncode == 0
        assert fetch(asked, CHAT, headers)[0] == 401
    used = json.loads(run_vedette(tmp_path, "keys", "usage", "--json").stdout)
    assert used["anna"]["requests"] == 2
    assert used["anna"]["answer_tokens"] == 3
    assert re.search(r"anna +2 +0 +90 +3", run_vedette(tmp_path, "keys", "usage").stdout)


@pytest.mark.parametrize("arguments", [(), ("--require-key",), ("--detach",)])
def test_an_open_network_that_nobody_asked_for_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    began = time.monotonic()
    result = run_vedette(tmp_path, "up", "--host", "0.0.0.0", "--port", str(free_port()), *arguments)
    assert result.returncode == 1
    assert "vedette up --host 0.0.0.0 --https" in result.stdout + result.stderr
    assert time.monotonic() - began < 20


needs_network = pytest.mark.skipif(not can_make_neighbours(), reason="network namespaces need root")


@needs_network
def test_another_machine_needs_a_key_over_https(engine: str, tmp_path: Path) -> None:
    with neighbour() as other, vedette_running(tmp_path, "--engine", engine, "--host", "0.0.0.0", "--https") as running:
        running.wait_until_ready()
        notes = [event["sentence"] for event in running.events if event["event"] == "note"]
        there = f"https://{HERE}:{running.port}"
        assert any(there in note and "nothing without a key" in note for note in notes)
        shown = subprocess.run(
            ["openssl", "x509", "-in", str(tmp_path / "access" / "served.pem"), "-noout", "-fingerprint", "-sha256"],
            capture_output=True, text=True, check=True,
        ).stdout.strip().partition("=")[2]  # fmt: skip
        assert any(shown in note for note in notes)
        body, swap = json.dumps(CHAT), json.dumps({"model": "vedette-tiny"})
        key = json.loads(run_vedette(tmp_path, "keys", "add", "anna", "--json").stdout)["key"]
        asked, own = f"{there}/v1/chat/completions", owner_key(running)
        assert other.python(ASK, f"{there}/", "", "") == "303"
        assert other.python(ASK, f"{there}/login", "", "") == "200"
        assert other.python(ASK, asked, "", body) == "401"
        assert other.python(ASK, asked, "made-up", body) == "401"
        assert other.python(ASK, asked, key, body) == "200"
        assert other.python(ASK, f"{there}/api/swap", key, swap) == "403"
        assert other.python(ASK, f"{there}/api/swap", own, swap) == "200"
        # A program of this machine has no more right than another machine's.
        trusting = ssl.create_default_context(cafile=str(tmp_path / "access" / "served.pem"))
        local = f"https://127.0.0.1:{running.port}/v1/models"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(local, context=trusting, timeout=10)
        assert running.status()["state"] == "ready"
        assert run_vedette(tmp_path, "swap", "vedette-tiny").returncode == 0


@needs_network
def test_an_insecure_vedette_says_so_and_lets_nobody_change_anything(engine: str, tmp_path: Path) -> None:
    arguments = ("--engine", engine, "--host", "0.0.0.0", "--insecure")
    with neighbour() as other, vedette_running(tmp_path, *arguments) as running:
        running.wait_until_ready()
        there = f"http://{HERE}:{running.port}"
        notes = [event["sentence"] for event in running.events if event["event"] == "note"]
        assert any(there in note and "Nothing is encrypted" in note for note in notes)
        assert other.python(ASK, f"{there}/v1/chat/completions", "", json.dumps(CHAT)) == "200"
        for model in ("vedette-tiny", "/etc", "/nothing"):  # no answer says which directories there are
            assert other.python(ASK, f"{there}/api/swap", "", json.dumps({"model": model})) == "403"


@needs_network
def test_a_vedette_on_loopback_is_out_of_reach(engine: str, tmp_path: Path) -> None:
    with neighbour() as other, vedette_running(tmp_path, "--engine", engine) as running:
        running.wait_until_ready()
        with pytest.raises(subprocess.CalledProcessError) as failed:
            other.python(ASK, f"http://{HERE}:{running.port}/", "", "")
        assert "Connection refused" in failed.value.stderr
