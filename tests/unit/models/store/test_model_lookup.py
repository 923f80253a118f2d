"""What a MODEL argument means, and the catalogue behind it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import ModelNotFoundError
from vedette.language.foreign_text import plain
from vedette.models.store.model_catalogue import catalogue, smaller_of_family
from vedette.models.store.model_lookup import candidates, find_model, installed_models, read_facts


def install(models: Path, hub_id: str) -> Path:
    """A directory that looks like an installed model."""
    path = models / hub_id.replace("/", "--")
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


@pytest.mark.parametrize(
    "argument", ["Cosmos-Reason2-2B", "cosmos-reason2-2b", "nvidia/Cosmos-Reason2-2B", "NVIDIA/cosmos-reason2-2b"]
)
def test_catalogue_names_in_any_case(argument: str, tmp_path: Path) -> None:
    ref = find_model(argument, tmp_path)
    assert ref.name == ref.hub_id == "nvidia/Cosmos-Reason2-2B"
    assert ref.path == tmp_path / "nvidia--Cosmos-Reason2-2B"
    assert not ref.installed


def test_facts_of_a_catalogue_model_that_is_not_installed(tmp_path: Path) -> None:
    model = read_facts(find_model("cosmos-reason2-2b", tmp_path))
    assert model is not None
    assert model.assumed
    assert model.thinks
    assert (model.architecture, model.layers) == ("Qwen3VLForConditionalGeneration", 28)
    assert model.path == tmp_path / "nvidia--Cosmos-Reason2-2B"
    other = read_facts(find_model("SmolLM2-135M-Instruct", tmp_path))
    assert other is not None
    assert not other.thinks


def test_an_id_outside_the_catalogue_needs_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ref = find_model("someone/some-model.v2", tmp_path)
    assert (ref.hub_id, ref.installed) == ("someone/some-model.v2", False)
    with pytest.raises(ModelNotFoundError, match=r"No model hub answers at http://127\.0\.0\.1:9"):
        read_facts(ref)
    with pytest.raises(ModelNotFoundError) as caught:
        read_facts(find_model("nvidia/Cosmos-Raeson2-2B", tmp_path))
    assert caught.value.hint.startswith("Did you mean nvidia/Cosmos-Reason2-2B? Check the network")


def test_only_complete_downloads_are_installed(tmp_path: Path) -> None:
    install(tmp_path, "someone/whole")
    install(tmp_path, "someone/half.partial")
    assert "someone/whole" in installed_models(tmp_path)
    assert not any("half" in name for name in installed_models(tmp_path))
    assert find_model("someone/whole", tmp_path).installed
    assert not find_model("someone/half", tmp_path).installed


def test_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = install(tmp_path, "mine")
    assert find_model(str(directory), tmp_path / "models").path == directory
    monkeypatch.chdir(tmp_path)
    assert find_model("mine", tmp_path / "models").name == "mine"
    assert find_model("./mine", tmp_path / "models").installed
    with pytest.raises(ModelNotFoundError, match="is not a readable directory"):
        find_model("./mine/config.json", tmp_path)


def test_a_catalogue_name_is_not_shadowed_by_a_directory_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vedette-tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("vedette-tiny", tmp_path).entry is not None


@pytest.mark.parametrize("name", [b"caf\xe9--model", b"a\nb--model", b"\x1b[2J--model", "\u202egpj--model".encode()])
def test_a_directory_whose_name_cannot_be_shown_is_no_installed_model(tmp_path: Path, name: bytes) -> None:
    install(tmp_path, "someone/whole")
    install(tmp_path, os.fsdecode(name))
    assert [each for each in installed_models(tmp_path) if "vedette" not in each] == ["someone/whole"]


def test_an_unknown_name_gets_the_nearest_and_the_installed_models(tmp_path: Path) -> None:
    install(tmp_path, "someone/whole")
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("cosmos-raeson2-2b", tmp_path)
    assert "Did you mean Cosmos-Reason2-2B?" in caught.value.hint
    assert "someone/whole" in caught.value.hint
    assert "cosmos-raeson2-2b" in caught.value.sentence


@pytest.mark.parametrize("argument", ["", "a\0b", "x" * 5000, "a/b/c", "../", "https://hub/a/b", "a/..", "-rf"])
def test_hostile_names(argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    try:
        ref = find_model(argument, tmp_path / "models")
    except ModelNotFoundError:
        return
    assert ref.hub_id is None, "it is a directory at most"


def test_every_entry_can_be_chosen_and_planned(tmp_path: Path) -> None:
    names = {ref.name for ref, _ in candidates(tmp_path)}
    assert {"Qwen/Qwen3-VL-2B-Instruct", "Qwen/Qwen2-7B-Instruct", "baidu/ERNIE-4.5-0.3B-PT"} <= names
    for name, entry in catalogue().items():
        assert entry.packaged or entry.hub, name
        if entry.packaged:
            continue
        model = read_facts(find_model(name, tmp_path))
        assert model is not None, name
        assert (model.vision is not None) == entry.sees, name
        assert 0 < model.decode_weights_bytes <= model.weights_bytes <= (entry.download_bytes or 0), name


def test_smaller_models_of_a_family_are_known_by_any_of_its_names() -> None:
    eight_bits = ("Qwen/Qwen3-VL-2B-Instruct-FP8",)
    assert smaller_of_family("cosmos-reason2-2b") == eight_bits
    assert smaller_of_family("Qwen/Qwen3-VL-2B-Instruct") == eight_bits
    assert smaller_of_family("qwen2-7b-instruct") == ("Qwen/Qwen2-1.5B-Instruct", "Qwen/Qwen2-0.5B-Instruct")
    assert smaller_of_family("SmolLM2-135M-Instruct") == ()
    assert smaller_of_family("vedette-tiny") == ()
    assert smaller_of_family("somebody/else") == ()


def test_all_models_of_a_family_take_pictures_or_none_does(tmp_path: Path) -> None:
    for name, entry in catalogue().items():
        for smaller in smaller_of_family(name):
            other = find_model(smaller, tmp_path).entry
            assert other is not None
            assert (other.family, other.sees) == (entry.family, entry.sees)


def test_candidates_are_best_first(tmp_path: Path) -> None:
    qualities = [ref.entry.quality for ref, _ in candidates(tmp_path) if ref.entry]
    assert qualities == sorted(qualities, reverse=True)


def test_a_damaged_installed_model_is_no_candidate(tmp_path: Path) -> None:
    intact = {ref.name for ref, _ in candidates(tmp_path)}
    (install(tmp_path, "baidu/ERNIE-4.5-0.3B-PT") / "config.json").write_text(json.dumps([]))
    assert intact - {ref.name for ref, _ in candidates(tmp_path)} == {"baidu/ERNIE-4.5-0.3B-PT"}


def test_a_relative_directory_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").mkdir()
    for argument in ("./my-model", "my-model"):
        ref = find_model(argument, tmp_path / "models")
        assert (ref.name, ref.path) == ("my-model", tmp_path / "my-model")


def test_the_home_of_an_unknown_user(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="~nosuchuser/m names the home directory of a user"):
        find_model("~nosuchuser/m", tmp_path)


@pytest.mark.parametrize("name", ["--trust-remote-code", "-O3", "a\nb", "a\x1b[2Jb", "a\udcffb"])
def test_a_directory_whose_name_cannot_be_a_models(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(name)
    monkeypatch.chdir(tmp_path)
    for argument in (name, f"./{name}", str(tmp_path / name), "link"):
        with pytest.raises(ModelNotFoundError) as refused:
            find_model(argument, tmp_path)
        assert refused.value.message.code == "models.unusable_name"


@given(argument=st.text(max_size=300) | st.sampled_from(["~\0", "~nobody-here", "~/\udcff", "/\0", "./" + "a" * 300]))
def test_any_argument_is_a_model_or_a_sentence(argument: str) -> None:
    try:
        said = find_model(argument, Path("/nowhere")).name
    except ModelNotFoundError as error:
        said = error.sentence
    assert plain(said) == said
