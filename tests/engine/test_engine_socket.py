"""Nothing but vedette reaches the engine: no port of any kind, and a socket that only its owner can open."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.rig.leftovers import engine_processes
from tests.rig.processes import Vedette
from vedette.engine.client import EngineClient

NOBODY = 65534
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def engine_socket(running: Vedette) -> Path:
    return running.home / "run" / "engine" / "1" / "engine.sock"


def test_the_socket_is_its_owners_alone(running_vedette: Vedette) -> None:
    path = engine_socket(running_vedette)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_cannot_connect(running_vedette: Vedette) -> None:
    command = [shutil.which("python3", path="/usr/bin:/bin") or sys.executable, "-c", CONNECT]
    path = str(engine_socket(running_vedette))
    assert subprocess.run([*command, path], check=False).returncode == 0
    other = subprocess.run([*command, path], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True)
    assert "PermissionError" in other.stderr


def test_no_process_of_the_engine_serves_on_a_port(running_vedette: Vedette) -> None:
    processes = engine_processes(running_vedette.home)
    argv = running_vedette.status()["plan"]["engine"]["argv"]
    assert "--uds" in argv
    assert "--port" not in argv
    listening = {
        connection.laddr.port
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    # torch's rendezvous store listens on a port and speaks no HTTP; see docs/security.md.
    assert [port for port in listening if speaks_http(port)] == []


def speaks_http(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.settimeout(2)
        try:
            connection.sendall(b"GET /docs HTTP/1.1\r\nHost: engine\r\n\r\n")
            return connection.recv(4) == b"HTTP"
        except OSError:
            return False


async def test_vedette_asks_through_the_socket(running_vedette: Vedette) -> None:
    client = EngineClient(engine_socket(running_vedette).parent, "vedette-tiny")
    try:
        assert await client.is_healthy()
        async with client.request("GET", "/v1/models", {}, None) as response:
            assert json.loads(await response.read())["data"][0]["id"] == "vedette-tiny"
    finally:
        await client.close()
