"""The background's log: rotated under a running process, with everything in it from its first line on."""

import subprocess
import sys
from pathlib import Path

from vedette.instance.server_log import remove_unused_logs

WRITER = """
import os, sys
from pathlib import Path
from vedette.instance.server_log import ServerLog
print("first line", flush=True)
log = ServerLog(Path(sys.argv[1]), 20_000)
for number in range(int(sys.argv[2])):
    os.write(2, b"line %d of a library that writes to the descriptor\\n" % number)
    log.rotate_if_full()
print("last line", flush=True)
"""


def write(path: Path, lines: int, out: Path) -> None:
    """Run a process that writes to `out` and rotates `path`."""
    with out.open("w") as file:
        subprocess.run([sys.executable, "-c", WRITER, str(path), str(lines)], stdout=file, stderr=file, check=True)


def test_the_log_of_the_background_stays_within_its_bound_and_loses_nothing_new(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    write(log, 2000, log)
    older = tmp_path / "server.log.1"
    assert log.stat().st_size + older.stat().st_size <= 20_000 + 200
    text = older.read_text() + log.read_text()
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line")]
    assert numbers == list(range(numbers[0], 2000))
    assert text.endswith("last line\n")
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_short_log_has_its_first_line(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    write(log, 3, log)
    assert log.read_text().startswith("first line\n")
    assert not (tmp_path / "server.log.1").exists()


def test_the_output_of_a_person_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("of another run")
    write(tmp_path / "server.log", 2000, tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_size > 80_000
    assert (tmp_path / "server.log").read_text() == "of another run"


def test_logs_of_engines_that_are_served_no_more_are_removed(tmp_path: Path) -> None:
    names = {"engine.log", "engine.log.1", "engine-2.log", "engine-3.log", "engine-3.log.1", "engine-notes.log"}
    for name in names:
        (tmp_path / name).touch()
    remove_unused_logs(tmp_path / "engine.log", 2)
    assert {path.name for path in tmp_path.iterdir()} == names - {"engine-3.log", "engine-3.log.1"}
