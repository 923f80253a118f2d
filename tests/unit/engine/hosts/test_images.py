"""The catalogue of images: which image a board gets, and what names of images stand for."""

import pytest

from vedette.engine.hosts.images import find_digest, image_for_jetson, image_named, repository
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


def test_another_version_of_a_known_image_is_started_as_that_is() -> None:
    assert image_named("vllm/vllm-openai:v0.31.0").entrypoint == "vllm"
    assert image_named("example.com/some/vllm:1").entrypoint is None
