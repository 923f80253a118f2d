"""The catalogue of images: which image a board gets, and what names of images stand for."""

from pathlib import Path

import pytest

from vedette.engine.hosts.images import (
    Fetched,
    Image,
    find_digest,
    image_for_gpu,
    image_for_jetson,
    image_named,
    read_fetched,
    repository,
    write_fetched,
)
from vedette.errors import EngineInstallError


@pytest.mark.parametrize("l4t", ["35.6.1", "36.3.0", "40.1", None])
def test_no_image_is_tried_where_none_is_known_to_run(l4t: str | None) -> None:
    with pytest.raises(EngineInstallError) as caught:
        image_for_jetson(l4t)
    assert "VEDETTE_IMAGE" in caught.value.hint


def test_names_of_images_are_taken_apart() -> None:
    assert repository("docker.io/library/a:1") == repository("a@sha256:1") == "a"
    assert repository("localhost:5000/a/b") == "localhost:5000/a/b"
    assert repository("localhost:5000/a/b:1") == "localhost:5000/a/b"
    digests = ["other/vllm@sha256:1", "vllm/vllm-openai@sha256:2"]
    assert find_digest("docker.io/vllm/vllm-openai:v0.32.0", digests) == "sha256:2"
    assert find_digest("nvcr.io/nvidia/vllm:26.02-py3", digests) is None


def test_another_version_of_a_known_image_has_the_same_entry_point() -> None:
    assert image_named("vllm/vllm-openai:v0.31.0").entrypoint == "vllm"
    assert image_named("example.com/some/vllm:1").entrypoint is None


@pytest.mark.parametrize("names", [("some/image:1", "some-image:1"), ("some-image:1", "some/image:1")])
def test_a_record_is_of_one_name_alone(tmp_path: Path, names: tuple[str, str]) -> None:
    recorded, other = (Image(name, "0.32.0") for name in names)
    assert read_fetched(tmp_path, recorded) is None
    fetched = Fetched(recorded.reference, "sha256:1d", None)
    write_fetched(tmp_path, fetched)
    assert read_fetched(tmp_path, recorded) == fetched
    assert read_fetched(tmp_path, other) is None  # whose record has the same file
    assert fetched.pinned == recorded.reference


def test_a_digest_names_one_image() -> None:
    assert Image("host:5000/a:1", "0.32.0", digest="sha256:2").pinned == "host:5000/a@sha256:2"
    assert Fetched("a:1", "sha256:1d", "sha256:2").pinned == "a@sha256:2"


@pytest.mark.parametrize(
    ("l4t", "version"), [("36.4", "0.11.2"), ("36.4.7", "0.11.2"), ("38", "0.15.1"), ("38.2", "0.15.1")]
)
def test_a_board_s_image_runs_on_its_jetson_linux(l4t: str, version: str) -> None:
    assert image_for_jetson(l4t).vllm == version


def test_an_unknown_image_is_assumed_to_have_the_newest_known_vllm() -> None:
    newest = image_for_gpu()
    assert (newest.l4t_from, newest.reference) == (None, "docker.io/vllm/vllm-openai:v0.32.0")
    assert image_named("example.com/some/vllm:1") == Image("example.com/some/vllm:1", newest.vllm)
    assert image_named(newest.reference).entrypoint == newest.entrypoint
    jetson = image_for_jetson("36.4.3")
    other = f"{repository(jetson.reference)}:another"
    assert image_named(other) == Image(other, jetson.vllm, jetson.entrypoint)


@pytest.mark.parametrize("name", ["--privileged", "-v=/:/host", "a b", "a\nb", "", "模型", "$(id)"])
def test_what_is_no_image_s_name_is_not_given_to_docker(name: str) -> None:
    with pytest.raises(EngineInstallError, match="cannot be the name of a container image"):
        image_named(name)
