"""`vedette service`: a systemctl that notes its calls, and answers as it is set up to, stands in for systemd."""

import http.server
import json
import os
import pwd
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.rig.processes import run_vedette
from vedette.engine.state import State, Status
from vedette.events import ModelStatus, ServiceStatus, status_json
from vedette.systemd.systemctl import run_as
from vedette.systemd.unit import Account

pytestmark = pytest.mark.processes


FAKE_SYSTEMCTL = """#!/bin/sh
echo "$*" >> {calls}
case "$*" in *" show "*|"--no-pager show "*) cat {state};; *) cat {refusal} >&2; test ! -s {refusal};; esac
"""


class Systemd:
    """A systemctl on PATH that notes how it is called, answers as it is set up to, and starts nothing."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.unit = directory / "config" / "systemd" / "user" / "vedette.service"
        self._directory = directory
        for name in ("calls", "state", "refusal", "linger"):
            (directory / name).touch()
        binaries = directory / "bin"
        binaries.mkdir()
        files = {name: shlex.quote(str(directory / name)) for name in ("calls", "state", "refusal")}
        (binaries / "systemctl").write_text(FAKE_SYSTEMCTL.format(**files))
        (binaries / "loginctl").write_text(f"#!/bin/sh\ncat {shlex.quote(str(directory / 'linger'))}\n")
        for program in binaries.iterdir():
            program.chmod(0o755)

    def set(self, name: str, text: str) -> None:
        (self._directory / name).write_text(text)

    def calls(self) -> list[str]:
        """What systemctl was asked to change."""
        lines = (self._directory / "calls").read_text().splitlines()
        return [line.removeprefix("--user --no-pager ") for line in lines if " show " not in line]

    def vedette(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return run_vedette(
            self.home,
            "service",
            *arguments,
            environment={
                "PATH": f"{self._directory / 'bin'}:{os.environ['PATH']}",
                "XDG_CONFIG_HOME": str(self._directory / "config"),
                "SUDO_USER": "",
                **environment,
            },
        )


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    return Systemd(tmp_path)


@pytest.mark.parametrize("command", ["install", "remove", "status"])
def test_every_command_has_help_with_an_example(tmp_path: Path, command: str) -> None:
    result = run_vedette(tmp_path, "service", command, "--help")
    assert result.returncode == 0
    assert "Examples:" in result.stdout


def test_the_service_is_installed_started_and_removed(systemd: Systemd) -> None:
    systemd.set("linger", "Linger=yes\n")
    wishes = ("vedette-tiny", "--port", "9000", "--for", "live", "--context", "2048", "--answer-tokens", "99")
    result = systemd.vedette("install", *wishes)
    assert result.returncode == 0, result
    assert "enable-linger" not in result.stdout
    assert systemd.calls() == ["daemon-reload", "enable vedette.service", "restart vedette.service"]
    text = systemd.unit.read_text()
    words = f"{sys.executable} -m vedette up {' '.join(wishes)}".split()
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert sorted(shlex.split(line.removeprefix("ExecStart=:"))) == sorted(words)
    assert f'Environment="VEDETTE_HOME={systemd.home}"\n' in text

    removed = systemd.vedette("remove", "--json")
    assert json.loads(removed.stdout) == {"removed": True, "unit_path": str(systemd.unit)}
    assert systemd.calls()[3:] == ["disable --now vedette.service", "daemon-reload"]
    assert not systemd.unit.exists()
    again = systemd.vedette("remove")
    assert again.returncode == 1
    assert "not installed" in again.stderr


def test_a_service_that_ends_with_the_login_is_said_so(systemd: Systemd) -> None:
    systemd.set("linger", "Linger=no\n")
    result = systemd.vedette("install", "--json")
    assert result.returncode == 0, result
    assert "loginctl enable-linger" in " ".join(json.loads(result.stdout)["notes"])


def test_a_failed_service_may_start_again_once_reinstalled(systemd: Systemd) -> None:
    systemd.set("state", "ActiveState=failed\n")
    assert systemd.vedette("install").returncode == 0
    assert "reset-failed vedette.service" in systemd.calls()


def test_printing_changes_nothing(systemd: Systemd) -> None:
    result = systemd.vedette("install", "--print", "--json")
    shown = json.loads(result.stdout)
    assert shown["unit"] == systemd.vedette("install", "--print").stdout
    assert shown["unit_path"] == str(systemd.unit)
    assert systemd.calls() == []
    assert not systemd.unit.exists()
    assert not systemd.home.exists()


def test_a_model_directory_is_named_from_anywhere(systemd: Systemd, tmp_path: Path) -> None:
    model = tmp_path / "a model"
    model.mkdir()
    relative = os.path.relpath(model)
    unit = systemd.vedette("install", "--print", f"./{relative}").stdout
    assert f' "up" "{model}"\n' in unit
    assert f'"{model}"' in next(line for line in unit.splitlines() if line.startswith("RequiresMountsFor="))
    by_environment = systemd.vedette("install", "--print", VEDETTE_MODEL=f"./{relative}").stdout
    assert f'Environment="VEDETTE_MODEL={model}"\n' in by_environment


def test_settings_of_the_environment_come_along_unless_overruled(systemd: Systemd) -> None:
    unit = systemd.vedette("install", "--print", "--port", "9000", VEDETTE_PORT="9001", VEDETTE_PICTURE="320x240")
    assert 'Environment="VEDETTE_PICTURE=320x240"\n' in unit.stdout
    assert "9001" not in unit.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--port", "70000"), "not a number from 1 to 65535"),
        (("vedette-tinny",), "Did you mean vedette-tiny"),
        (("--picture", "640"), "not a picture size"),
        (("--system", "--run-as", "no-such-user", "--print"), "no user 'no-such-user'"),
    ],
)
def test_wishes_are_checked_before_anything_is_installed(
    systemd: Systemd, arguments: tuple[str, ...], says: str
) -> None:
    result = systemd.vedette("install", *arguments)
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert systemd.calls() == []


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        ("System has not been booted with systemd as init system (PID 1). Can't operate.", "There is no systemd"),
        ("Failed to connect to bus: No medium found", "loginctl enable-linger"),
        ("Job for vedette.service failed.", "Job for vedette.service failed."),
    ],
)
def test_what_systemctl_refuses_is_one_sentence(systemd: Systemd, refusal: str, says: str) -> None:
    systemd.set("refusal", f"{refusal}\n")
    result = systemd.vedette("install")
    assert result.returncode == 1
    assert says in result.stderr
    assert "→" in result.stderr
    as_json = systemd.vedette("install", "--json")
    assert json.loads(as_json.stdout)["code"] == "service"


def test_without_systemd_it_says_what_else_to_do(systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = systemd.vedette("status", PATH=str(tmp_path / "empty"))
    assert result.returncode == 1
    assert "There is no systemd on this machine" in result.stderr
    assert "vedette up --detach" in result.stderr


def test_a_system_service_runs_as_whom_one_names_and_waits_for_the_network(systemd: Systemd) -> None:
    unit = systemd.vedette("install", "--system", "--run-as", "daemon", "--print").stdout
    assert "\nUser=daemon\n" in unit
    assert "\nAfter=network-online.target\n" in unit
    assert f'\nReadWritePaths="{os.path.realpath(systemd.home)}"\n' in unit


def test_a_name_is_only_for_the_system(systemd: Systemd) -> None:
    result = systemd.vedette("install", "--run-as", "daemon")
    assert result.returncode == 2
    assert "--run-as needs --system" in result.stderr


def test_only_root_changes_the_system(systemd: Systemd) -> None:
    code = "import os; os.geteuid = lambda: 1000; from vedette.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "service", "install", "--system", "--run-as", "daemon"],
        env={**os.environ, "VEDETTE_HOME": str(systemd.home)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "Only root" in result.stderr
    assert "sudo " in result.stderr
    assert systemd.calls() == []


def test_your_own_service_is_not_installed_with_sudo(systemd: Systemd) -> None:
    code = "import os; os.geteuid = lambda: 0; from vedette.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "service", "install"],
        env={**os.environ, "VEDETTE_HOME": str(systemd.home), "SUDO_USER": "somebody"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "Leave out sudo" in result.stderr


def test_nothing_installed_is_said_and_exits_with_three(systemd: Systemd) -> None:
    systemd.set("state", "LoadState=not-found\nActiveState=inactive\nSubState=dead\nNRestarts=0\n")
    result = systemd.vedette("status")
    assert result.returncode == 3
    assert "not installed" in result.stdout
    assert json.loads(systemd.vedette("status", "--json").stdout)["installed"] is False


class Answer(http.server.BaseHTTPRequestHandler):
    state = State.READY

    def do_GET(self) -> None:
        assert isinstance(self.server, http.server.HTTPServer)
        page = f"http://127.0.0.1:{self.server.server_port}/"
        status = ModelStatus(Status(self.state), "vedette-tiny", None, page, f"{page}v1")
        body = json.dumps(status_json(ServiceStatus((status,)))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serving(systemd: Systemd) -> Iterator[int]:
    """The port of something that answers as the vedette of the service's home."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        (systemd.home / "run").mkdir(parents=True)
        own = {"pid": os.getpid(), "began": psutil.Process().create_time(), "url": f"http://127.0.0.1:{port}"}
        (systemd.home / "run" / "instance.json").write_text(json.dumps(own))
        with (systemd.home / "run" / "lock").open("w"):  # as only the vedette of a home has
            yield port
        server.shutdown()


@pytest.mark.parametrize(("state", "code"), [(State.READY, 0), (State.STARTING, 4)])
def test_a_running_service_tells_the_page(
    systemd: Systemd, serving: int, state: State, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "state", state)
    systemd.vedette("install")
    systemd.set(
        "state",
        "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nNRestarts=2\nResult=success\n"
        f"ActiveEnterTimestamp=Sun 2026-11-22 07:00:00 UTC\nUser=\nEnvironment=A=1 VEDETTE_HOME={systemd.home}\n",
    )
    systemd.unit.parent.mkdir(parents=True, exist_ok=True)
    systemd.unit.touch()
    result = systemd.vedette("status", VEDETTE_HOME="/nonexistent")  # it is the service's home that counts
    assert result.returncode == code, result
    assert f"http://127.0.0.1:{serving}/" in result.stdout
    assert "active (running) since Sun 2026-11-22 07:00:00 UTC" in result.stdout
    facts = json.loads(systemd.vedette("status", "--json").stdout)
    assert (facts["installed"], facts["enabled"], facts["restarts"], facts["state"]) == (True, True, 2, state.value)


def test_another_vedette_of_the_same_home_is_not_replaced(systemd: Systemd, serving: int) -> None:
    result = systemd.vedette("install")
    assert result.returncode == 1
    assert f"already runs on http://127.0.0.1:{serving}/" in result.stderr
    assert systemd.calls() == []
    systemd.set("state", "ActiveState=active\n")  # now it is the service itself
    assert systemd.vedette("install").returncode == 0
    assert "restart vedette.service" in systemd.calls()


def test_the_check_runs_as_the_account_of_the_service_and_changes_user_only_where_that_is_another() -> None:
    own = pwd.getpwuid(os.geteuid())
    assert run_as(Account(own.pw_name, own.pw_uid, own.pw_gid, Path(own.pw_dir))) == {}
    other = pwd.getpwnam("daemon" if os.geteuid() == 0 else "root")
    identity = run_as(Account(other.pw_name, other.pw_uid, other.pw_gid, Path(other.pw_dir)))
    assert (identity["user"], identity["group"]) == (other.pw_uid, other.pw_gid)
    assert other.pw_gid in identity["extra_groups"]
