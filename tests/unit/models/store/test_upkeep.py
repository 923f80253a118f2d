"""Checking, removing and clearing up models on the disk."""

import os
from pathlib import Path

import pytest

from tests.rig.model_servers import Library, serving
from tests.rig.safetensors_files import weights
from vedette.errors import BadInputError, ModelCorruptError, ModelNotFoundError
from vedette.models.store.fetching.downloader import download
from vedette.models.store.fetching.origin import Kind, Origin
from vedette.models.store.fetching.source_choice import source_of
from vedette.models.store.fetching.transfer_lock import transfer_lock
from vedette.models.store.model_lookup import ModelRef, find_model
from vedette.models.store.upkeep import Basis, Checked, Verdict, clear_up, remove_model, verify_model


@pytest.fixture
def ref(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRef:
    """A model that was downloaded from a plain server, which gave one hash."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": weights(5000)}
    with serving(Library(files)) as server:
        origin = Origin(Kind.WEB, f"{server.url}/plain")
        download(origin, source_of(origin, tmp_path), tmp_path / "models" / origin.directory_name)
    return find_model(origin.name, tmp_path / "models")


def test_a_whole_model(ref: ModelRef) -> None:
    assert {each.verdict for each in verify_model(ref)} == {Verdict.WHOLE}
    assert {each.basis for each in verify_model(ref)} == {Basis.SOURCE}


def test_one_bit_and_one_file(ref: ModelRef) -> None:
    path = ref.path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (ref.path / "tokenizer.json").unlink()
    checked = {each.name: each.verdict for each in verify_model(ref)}
    assert checked == {
        "config.json": Verdict.WHOLE,
        "tokenizer.json": Verdict.MISSING,
        "model.safetensors": Verdict.DAMAGED,
    }


def test_a_directory_without_hashes(tmp_path: Path) -> None:
    """Weights that are cut short are found by their headers; what a link of the hub's client names is a hash."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(weights(100))
    ref = ModelRef("mine", tmp_path, installed=True)
    assert Checked("config.json", Verdict.WHOLE, Basis.NOTHING) in verify_model(ref)
    (tmp_path / "model.safetensors").write_bytes(weights(100)[:-1])
    with pytest.raises(ModelCorruptError):
        verify_model(ref)
    (tmp_path / "model.safetensors").write_bytes(weights(100))
    blobs = tmp_path.with_name("blobs")
    blobs.mkdir()
    name = "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # git's hash of `{}`
    (blobs / name).write_text("{}")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").symlink_to(os.path.relpath(blobs / name, tmp_path))
    assert Checked("config.json", Verdict.WHOLE, Basis.SOURCE) in verify_model(ref)
    (blobs / name).write_text("[]")
    assert Checked("config.json", Verdict.DAMAGED, Basis.SOURCE) in verify_model(ref)


def test_a_downloaded_model_is_removed(ref: ModelRef, tmp_path: Path) -> None:
    models = tmp_path / "models"
    with transfer_lock(ref.path), pytest.raises(BadInputError, match="downloaded by another"):
        remove_model(ref, models)
    assert remove_model(ref, models) >= 10_000
    assert not ref.path.exists()
    with pytest.raises(ModelNotFoundError, match="is not on this machine"):
        remove_model(find_model(ref.name, models), models)


def test_what_others_have_put_there_stays(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("{}")
    with pytest.raises(BadInputError, match="it lies in"):
        remove_model(find_model(str(mine), tmp_path / "models"), tmp_path / "models")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linked").symlink_to(mine)
    with pytest.raises(BadInputError, match="it lies in"):
        remove_model(find_model("linked", tmp_path / "models"), tmp_path / "models")
    assert (mine / "config.json").exists()


def test_what_was_given_up_is_cleared_up(ref: ModelRef, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("left", "running"):
        (models / f"{name}.partial").mkdir()
        (models / f"{name}.partial" / "model.safetensors.0.unfinished").write_bytes(bytes(100_000))
    with transfer_lock(models / "running"):
        assert list(clear_up(models, nothing=True)) == ["left"]
        assert (models / "left.partial").exists()
        assert clear_up(models)["left"] >= 100_000
        assert {path.name for path in models.iterdir()} == {ref.path.name, "running.partial", ".running.lock"}
    assert verify_model(ref)
