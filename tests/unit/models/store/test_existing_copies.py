"""Models that other programs have downloaded are used where they lie."""

import os
from pathlib import Path

import pytest

from tests.rig.safetensors_files import weights
from vedette.models.store.model_lookup import KEYS, find_model, installed_models
from vedette.settings.home import Home

COMMIT = "d" * 40


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "MODELSCOPE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "models"


def put_model(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights(1000))
    return directory


@pytest.mark.parametrize(
    ("argument", "place"),
    [
        ("ngc:nim/nvidia/cosmos:1208-fp8", "here/cosmos_v1208-fp8"),
        ("ngc:nim/nvidia/cosmos:1208-fp8", "models/cosmos_v1208-fp8"),
        ("modelscope:Qwen/Qwen2.5-VL", ".cache/modelscope/hub/models/Qwen/Qwen2___5-VL"),
        ("modelscope:Qwen/Qwen2.5-VL", ".cache/modelscope/hub/Qwen/Qwen2.5-VL"),
        ("modelscope:Qwen/Qwen2.5-VL", ".cache/modelscope/models/Qwen--Qwen2.5-VL/snapshots/master"),
    ],
)
def test_what_others_have_downloaded_is_used_in_place(models: Path, argument: str, place: str) -> None:
    assert not find_model(argument, models).installed
    directory = put_model(models.parent / place)
    ref = find_model(argument, models)
    assert (ref.installed, ref.path, ref.name) == (True, directory, argument)
    with (directory / "model.safetensors").open("ab") as file:
        file.truncate(500)
    assert not find_model(argument, models).installed, "a download that was broken off"


def test_the_hubs_cache_is_used_in_place(models: Path) -> None:
    repository = models.parent / ".cache/huggingface/hub/models--someone--small"
    blobs, snapshot = put_model(repository / "blobs"), repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(os.path.relpath(path, snapshot))
    assert not find_model("someone/small", models).installed
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    assert find_model("someone/small", models).path == snapshot
    (blobs / "model.safetensors").unlink()
    assert not find_model("someone/small", models).installed


def test_a_download_of_vedettes_own_comes_first(models: Path) -> None:
    put_model(models.parent / "here" / "cosmos_v1")
    own = put_model(models / "ngc+org+cosmos+1")
    assert find_model("ngc:org/cosmos:1", models).path == own


def test_a_directory_among_the_models_is_found_by_its_name(models: Path) -> None:
    directory = put_model(models / "cosmos_v1")
    assert "cosmos_v1" in installed_models(models)
    assert find_model("cosmos_v1", models).path == directory
    assert find_model(f"file:{directory}", models).path == directory


def test_keys_lie_beside_the_models() -> None:
    home = Home(Path("/data"), Path("/state"), Path("/cache"))
    assert home.keys == home.models.with_name(KEYS)
