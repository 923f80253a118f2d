import subprocess
import sys
from pathlib import Path

import pytest

from vedette.files import write_whole


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
