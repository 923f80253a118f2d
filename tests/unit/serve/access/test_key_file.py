import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vedette.errors import BadInputError, ConfigError
from vedette.serve.access.key_file import KeyFile
from vedette.serve.access.owner_key import make_owner_key, owner_link, read_owner_key


def test_keys_are_kept_as_hashes_for_the_owner_alone(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "access")
    secret = file.add("anna", "use")
    path = tmp_path / "access" / "keys.json"
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = KeyFile(tmp_path / "access").find(secret)
    assert found is not None
    assert (found.name, found.role) == ("anna", "use")
    assert file.find(secret[:-1]) is None
    assert file.find("") is None


def test_two_processes_see_each_others_changes(tmp_path: Path) -> None:
    one, two = KeyFile(tmp_path), KeyFile(tmp_path)
    secret = one.add("anna", "look")
    assert two.find(secret) is not None
    two.revoke("anna")
    assert one.find(secret) is None
    again = one.add("anna", "use")
    assert again != secret
    assert two.find(again) is not None


@pytest.mark.parametrize("name", ["", "owner", "a b", "../x", "x" * 65, "-rf", "a\nb"])
def test_unusable_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError):
        KeyFile(tmp_path).add(name, "use")


def test_a_name_is_one_keys_alone(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.add("anna", "use")
    with pytest.raises(BadInputError, match="already"):
        file.add("anna", "admin")
    with pytest.raises(BadInputError, match="anna"):
        file.revoke("berta")


@pytest.mark.parametrize("content", ["{", "[1]", '[{"name": "a"}]', "\udcff"])
def test_a_damaged_file_is_an_error_and_not_an_open_door(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="damaged"):
        KeyFile(tmp_path).listed()


def test_a_role_that_is_not_known_gives_no_right(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    secret = file.add("anna", "use")
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{**json.loads(path.read_text())[0], "role": "owner"}]))
    assert file.find(secret) is None


def test_the_owners_key_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "access"
    key = make_owner_key(directory)
    assert make_owner_key(directory) == read_owner_key(directory) == key
    assert stat.S_IMODE((directory / "owner.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert owner_link(directory)("http://h/") == f"http://h/#key={key}"
    assert owner_link(tmp_path / "nothing")("http://h/") == "http://h/"


@pytest.mark.parametrize("fault", ["readable", "link", "fifo", "short"])
def test_an_owners_key_that_others_may_know_is_made_anew(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "owner.key"
    key = make_owner_key(tmp_path)
    if fault == "readable":
        path.chmod(0o644)
    elif fault == "short":
        path.write_text("abc")
    else:
        path.unlink()
        if fault == "link":
            (tmp_path / "other").write_text(key)
            path.symlink_to(tmp_path / "other")
        else:
            os.mkfifo(path)
    assert read_owner_key(tmp_path) is None
    assert make_owner_key(tmp_path) not in (key, "abc")
    assert read_owner_key(tmp_path) is not None


def test_changes_at_the_same_time_are_all_in_the_file(tmp_path: Path) -> None:
    def add(writer: int) -> None:
        file = KeyFile(tmp_path / "access")
        for number in range(10):
            file.add(f"{writer}-{number}", "use")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    assert len(KeyFile(tmp_path / "access").listed()) == 40
