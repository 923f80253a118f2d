"""The text of the unit, as real systemd reads it."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.systemd_units import complaints
from vedette.errors import ServiceError
from vedette.instance import lock as instance
from vedette.settings.home import Home
from vedette.systemd.unit import STOP_WITHIN_S, Account, Service, unit_text

NOBODY = Account("nobody", 65534, 65534, Path("/nonexistent"))
HOSTILE = "a b%n\"\\q' $HOME ${HOME} ; [Service] User=root # 模型"


def service(system: bool, model: str = "vedette-tiny", base: str = "/srv/vedette") -> Service:
    return Service(
        system=system,
        account=Account("daemon", 1, 1, Path("/usr/sbin")),
        program=(sys.executable, "-m", "vedette"),
        arguments=("up", model, "--port", "9000"),
        environment={"PYTHONSAFEPATH": "1", "VEDETTE_PICTURE": model},
        home=Home(Path(base), Path(base, "run"), Path(base, "cache")),
        reads=(Path("/opt/vedette"), Path("/models", model)),
    )


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that any user may read, unlike pytest's own: systemd tests units as an ordinary user only."""
    with tempfile.TemporaryDirectory(prefix="vedette-unit-") as made:
        (Path(made) / "run").mkdir()
        Path(made).chmod(0o755)
        (Path(made) / "run").chmod(0o700)
        if os.geteuid() == 0:
            os.chown(Path(made) / "run", NOBODY.uid, NOBODY.gid)
        yield Path(made)


def as_systemd_reads(text: str, directory: Path) -> dict[str, list[str]]:
    """Every property of the unit as a systemd in test mode has it after parsing."""
    (directory / "vedette.service").write_text(text)
    result = subprocess.run(
        ["/usr/lib/systemd/systemd", "--test", "--user", "--unit=vedette.service", "--no-pager"],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory / "run"),
            "SYSTEMD_UNIT_PATH": f"{directory}:",
            "SYSTEMD_LOG_TARGET": "console",
        },
        user=NOBODY.uid if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "-> Unit vedette.service:" in result.stdout, result
    lines = result.stdout.split("-> Unit vedette.service:")[1].split("-> Unit ")[0].splitlines()
    found: dict[str, list[str]] = {}
    for name, separator, value in (line.strip().partition(": ") for line in lines):
        if separator:
            found.setdefault(name, []).append(value.removesuffix(" (origin-file)"))
    return found


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("model", ["vedette-tiny", HOSTILE])
def test_systemd_has_nothing_to_say_of_the_unit(directory: Path, system: bool, model: str) -> None:
    text = unit_text(service(system, model))
    assert complaints(text, system, directory) == []
    assert complaints(text.replace("KillMode=", "KillMood="), system, directory) != []


@pytest.mark.parametrize("system", [False, True])
def test_systemd_reads_back_what_was_meant(directory: Path, system: bool) -> None:
    meant = service(system, HOSTILE, base="/srv/50% of it")
    found = as_systemd_reads(unit_text(meant), directory)
    command = [word.replace("\\$", "$") for word in shlex.split(found["Command Line"][0])]
    assert command == [*meant.program, *meant.arguments]
    assert found["Environment"] == [f"{name}={value}" for name, value in meant.environment.items()]
    assert set(found["RequiresMountsFor"]) >= {"/srv/50% of it", "/opt/vedette", f"/models/{HOSTILE}"}
    assert (found["KillMode"], found["OOMPolicy"]) == (["mixed"], ["continue"])
    if system:
        assert found["ProtectSystem"] == ["strict"]
        assert found["ReadWritePaths"] == ["/srv/50% of it"]
        assert found["PrivateTmp"] == ["yes"]


def test_systemd_waits_longer_than_vedette_takes_to_stop() -> None:
    assert f"TimeoutStopSec={STOP_WITHIN_S}\n" in unit_text(service(system=False))
    assert max(10, instance.STOP_WITHIN_S) < STOP_WITHIN_S


@pytest.mark.parametrize("name", ["two\nUser=root", "tab\t", "bell\x07", "half\udce4"])
def test_a_name_that_no_unit_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ServiceError, match="cannot hold"):
        unit_text(service(system=False, model=name))


def test_what_lies_under_tmp_is_still_seen_there() -> None:
    text = unit_text(service(system=True, base="/tmp/vedette"))
    assert "PrivateTmp" not in text
    assert 'ReadWritePaths="/tmp" "/var/tmp"\n' in text


def test_a_system_service_refuses_a_home_that_systemd_cannot_open() -> None:
    with pytest.raises(ServiceError, match="VEDETTE_HOME"):
        unit_text(service(system=True, base='/srv/"quoted"'))
