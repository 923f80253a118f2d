"""Version and options of an engine's vLLM, as it prints them and as they are recorded."""

from pathlib import Path

import pytest

from vedette.engine.vllm.software import Software, parse_software, parse_version, read_software, write_software


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("INFO: cuda\nvllm 0.15.1+befbc472.nv26.02\n", "0.15.1+befbc472.nv26.02"),
        ("0.19.1\n", "0.19.1"),
        ("VLLM v0.20.0rc1", "0.20.0rc1"),
        ("1.2.3\n0.19.1\n", "0.19.1"),  # a library's first
        ("Traceback", None),
        ("0.19.1 is the version", None),
    ],
)
def test_the_version_is_found_among_other_lines(output: str, version: str | None) -> None:
    assert parse_version(output) == version


def test_the_answers_give_version_and_options() -> None:
    assert parse_software("0.19.1\n", "--port PORT\n") == Software("0.19.1", frozenset({"--port"}))
    assert parse_software("Traceback", "--port PORT\n") is None


def test_a_record_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "images" / "some.json"
    assert read_software(path) is None
    software = Software("0.19.1", frozenset({"--port", "--host"}))
    write_software(path, software)
    assert read_software(path) == software
    write_software(path, Software("0.19.1"))
    assert read_software(path) == Software("0.19.1", frozenset())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "0.19.1"}', '{"version": "0.19.1", "options": 1}'])
def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.json").write_text(text)
    assert read_software(tmp_path / "some.json") is None
