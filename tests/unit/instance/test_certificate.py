"""HTTPS with a certificate of vedette's own or of the user's, by a real `openssl`, a real server and real clients."""

import shutil
import socket
import ssl
import stat
import subprocess
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from vedette.engine.state import State, Status
from vedette.errors import ConfigError
from vedette.events import ModelStatus, ServiceStatus, status_json
from vedette.instance.certificate import fingerprint, served_certificate, server_context
from vedette.instance.control import Way, read_status, way_to
from vedette.serve.connections.acceptor import serving
from vedette.serve.connections.limits import ConnectionLimits
from vedette.settings.home import Home
from vedette.settings.table import Settings

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
OWN = Settings(https=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")


def test_a_certificate_is_made_once_and_its_key_is_private(home: Home) -> None:
    server_context(OWN, home)
    first = (home.access / "own.pem").read_bytes()
    assert stat.S_IMODE((home.access / "own.key").stat().st_mode) == 0o600
    server_context(OWN, home)
    assert (home.access / "own.pem").read_bytes() == served_certificate(home).read_bytes() == first
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(served_certificate(home)), "-noout", "-fingerprint", "-sha256"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert fingerprint(served_certificate(home)) in shown


def test_a_certificate_that_is_about_to_expire_is_made_anew(home: Home) -> None:
    server_context(OWN, home)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=old", "-keyout", str(home.access / "own.key"), "-out", str(home.access / "own.pem")],
        capture_output=True, check=True,
    )  # fmt: skip
    old = (home.access / "own.pem").read_bytes()
    server_context(OWN, home)
    assert (home.access / "own.pem").read_bytes() != old


@pytest.mark.parametrize("fault", ["missing", "damaged", "another's key"])
def test_a_certificate_that_cannot_be_used_is_an_error(home: Home, fault: str) -> None:
    server_context(OWN, home)
    certificate, key = home.access / "c.pem", home.access / "c.key"
    if fault != "missing":
        certificate.write_bytes((home.access / "own.pem").read_bytes() if fault != "damaged" else b"junk")
        key.write_bytes((home.access / "own.key").read_bytes())
    if fault == "another's key":
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], capture_output=True, check=True)
    with pytest.raises(ConfigError, match="cannot be used"):
        server_context(Settings(tls_cert=str(certificate), tls_key=str(key)), home)


def test_without_openssl_the_hint_says_what_to_install(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError) as failed:
        server_context(OWN, home)
    assert "apt install openssl" in failed.value.hint


async def test_vedettes_own_commands_know_its_certificate_and_no_other(home: Home, tmp_path: Path) -> None:
    async def status(_: web.Request) -> web.Response:
        now = ModelStatus(Status(State.READY), "one", None, "https://h/", "https://h/v1")
        return web.json_response(status_json(ServiceStatus((now,))))

    app = web.Application()
    app.router.add_get("/api/status", status)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        async with serving(app, listener, ConnectionLimits(), server_context(OWN, home)):
            assert await read_status(way_to(home, url)) is not None
            assert await read_status(Way(url)) is None  # nobody has signed it
            other = Home(tmp_path / "other", tmp_path / "other", tmp_path / "other")
            server_context(OWN, other)
            assert await read_status(way_to(other, url)) is None
            trusted = ssl.create_default_context(cafile=str(served_certificate(home)))
            async with aiohttp.ClientSession() as http:
                named = url.replace("127.0.0.1", "localhost")
                async with http.get(f"{named}/api/status", ssl=trusted) as answer:
                    assert answer.status == 200
