"""Version and options of an engine, in its own words and as recorded."""

from vedette.engine.vllm.software import parse_version


def test_the_version_is_found_among_other_lines() -> None:
    assert parse_version("INFO: cuda\nvllm 0.15.1+befbc472.nv26.02\n") == "0.15.1+befbc472.nv26.02"
    assert parse_version("0.19.1\n") == "0.19.1"
    assert parse_version("Traceback") is None
