import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vedette.files import NotRegularError, TooLargeFileError, list_directory, open_log, read_whole, write_whole


def test_a_file_is_written_with_its_directory_and_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    write_whole(path, "模型")
    assert path.read_bytes() == "模型".encode()
    assert path.stat().st_mode & 0o777 == 0o600
    write_whole(path, b"\x00", mode=0o644)
    assert path.read_bytes() == b"\x00"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\udce4")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    """Another process writes two contents in turns; every read finds one of them whole."""
    path = tmp_path / "record"
    write_whole(path, "a" * 1_000_000)
    code = "import sys; from pathlib import Path; from vedette.files import write_whole\n"
    code += "while True:\n    for each in 'ab': write_whole(Path(sys.argv[1]), each * 1_000_000)"
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
    try:
        seen = {path.read_text() for _ in range(300)}
    finally:
        writer.kill()
        writer.wait()
    assert seen <= {"a" * 1_000_000, "b" * 1_000_000}


def test_a_regular_file_is_read_within_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_whole(path, 5) == b"12345"
    with pytest.raises(TooLargeFileError):
        read_whole(path, 4)
    (tmp_path / "link").symlink_to(path)
    assert read_whole(tmp_path / "link", 5) == b"12345"
    with pytest.raises(FileNotFoundError):
        read_whole(tmp_path / "nothing", 5)


def test_a_file_of_vedettes_own_is_no_link_and_no_other_may_write_to_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "x")
    assert read_whole(path, 1, own=True) == b"x"
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(NotRegularError):
        read_whole(tmp_path / "link", 1, own=True)
    path.chmod(0o620)
    with pytest.raises(PermissionError):
        read_whole(path, 1, own=True)


def test_nothing_but_regular_files_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for odd in (tmp_path / "fifo", Path("/dev/zero"), Path("/dev/ptmx"), tmp_path):
        with pytest.raises(NotRegularError):
            read_whole(odd, 100)
    with pytest.raises(OSError, match="symbolic links"):
        read_whole(tmp_path / "loop", 100)


def test_a_file_of_proc_says_that_it_is_empty_and_is_not(tmp_path: Path) -> None:
    with pytest.raises(TooLargeFileError):
        read_whole(Path("/proc/self/status"), 1_000_000)


def test_a_directory_is_listed_within_its_limit(tmp_path: Path) -> None:
    for name in ("b", "a", "c\n"):
        (tmp_path / name).touch()
    assert [path.name for path in list_directory(tmp_path, 3)] == ["a", "b", "c\n"]
    with pytest.raises(TooLargeFileError):
        list_directory(tmp_path, 2)


def test_a_log_is_its_owners_alone_and_no_link(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    path.chmod(0o666)
    with open_log(path) as log:
        log.write(b"new\n")
    assert path.read_text() == "old\nnew\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with open_log(path, emptied=True):
        assert path.read_text() == ""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(path)
    for odd in ("fifo", "link"):
        with pytest.raises(OSError, match=odd):
            open_log(tmp_path / odd)


SOURCE = Path(__file__).parents[2] / "src" / "vedette"
ALLOWED = {
    "files.py": "it is the reader",
    "device/": "reads what the kernel shows in /proc, /sys and /etc",
    "engine/process/oom_kills.py": "reads counters of the kernel",
    "engine/process/launcher.py": "runs in the engine's Python, without vedette; /proc",
    "engine/process/preloader.py": "runs in the engine's Python, without vedette; /proc",
    "serve/admission/picture_worker.py": "/proc",
    "serve/assets.py": "files that come with vedette",
    "serve/access/owner_key.py": "checks the rights more strictly",
    "instance/lock.py": "creates the lock, and never reads it",
    "cli/console/screen.py": "writes to /dev/null",
    "models/store/fetching/transfer_lock.py": "creates the lock, and never reads it",
    "models/store/fetching/downloader.py": "opens directories, to have the disk keep them",
    "models/store/package_download.py": "writes a file of its own",
    "engine/client.py": "holds a directory, to find its socket",
}
"""Where a file is opened in another way, and why."""


def direct_reads(path: Path) -> Iterator[str]:
    """The calls that open a file by its path, other than a package's own by importlib.resources."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called, first = ast.unparse(node.func), node.args[0] if node.args else None
        mode = isinstance(first, ast.Constant) and isinstance(first.value, str) and set(first.value) <= set("rwaxbt+")
        by_name = called in {"open", "os.open", "io.open", "json.load", "tomllib.load"}
        whole = called.endswith((".read_text", ".read_bytes")) and "resources.files" not in called
        if by_name or whole or (called.endswith(".open") and (first is None or mode)):
            yield called


def test_files_are_opened_by_the_bounded_reader_alone() -> None:
    found = {(str(path.relative_to(SOURCE)), call) for path in SOURCE.rglob("*.py") for call in direct_reads(path)}
    unexpected = [(name, call) for name, call in found if not name.startswith(tuple(ALLOWED))]
    assert unexpected == []
    unused = [place for place in ALLOWED if not any(name.startswith(place) for name, _ in found)]
    assert unused == []
