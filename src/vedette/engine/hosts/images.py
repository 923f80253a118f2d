"""The container images that vedette knows, by what they run on; images.toml holds them. And what their names stood for.

A tag is moved by whoever publishes it: what it stood for when an image was fetched is kept, and goes on being used.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from vedette.engine.vllm.software import Software, read_software
from vedette.errors import EngineInstallError

_HUB = ("docker.io/library/", "docker.io/", "index.docker.io/")
"""What a name on Docker's own registry may begin with, or leave out."""


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container image with vLLM in it."""

    reference: str
    vllm: str
    """The version of vLLM to speak to until the image has been asked for its own."""
    entrypoint: str | None = None
    """What replaces the image's own entry point; None where that runs the command it is given."""
    l4t_from: str | None = None
    l4t_before: str | None = None
    digest: str | None = None

    @property
    def pinned(self) -> str:
        """How a container engine is told of it; a digest says exactly which."""
        return pinned(self.reference, self.digest) if self.digest else self.reference


class Fetched(msgspec.Struct, frozen=True):
    """What the name of an image stood for when it last ran here."""

    reference: str
    image_id: str
    """Of its content, as the container engine has it."""
    digest: str | None
    """Of what its registry gave out (sha256:…); None of an image that was made or loaded here."""

    @property
    def pinned(self) -> str:
        return pinned(self.reference, self.digest) if self.digest else self.reference


class _Catalogue(msgspec.Struct, frozen=True):
    image: tuple[Image, ...]


def image_for_jetson(l4t: str | None) -> Image:
    """The image for this Jetson Linux (`36.4.3`). Raises EngineInstallError where none is known to run."""
    if l4t is not None:
        version = _numbers(l4t)
        for image in images():
            first, gone = image.l4t_from, image.l4t_before
            if first is not None and gone is not None and _numbers(first) <= version < _numbers(gone):
                return image
    raise EngineInstallError(
        f"No container image with vLLM is known for Jetson Linux {l4t or 'of an unknown version'}.",
        "Name one that runs there (VEDETTE_IMAGE, or `image` in the configuration file), or update JetPack.",
    )


def image_for_gpu() -> Image:
    """The image for an NVIDIA GPU that is no Jetson's."""
    return next(image for image in images() if image.l4t_from is None)


def image_named(reference: str) -> Image:
    """An image that a person names: that of the catalogue, or one of which only its name is known."""
    known = next((image for image in images() if reference in (image.reference, image.pinned)), None)
    if known is not None:
        return known
    # Another version of one that is known is started as that is.
    sister = next((image for image in images() if repository(image.reference) == repository(reference)), None)
    sister = sister or Image(reference, image_for_gpu().vllm)
    return Image(reference, sister.vllm, sister.entrypoint)


def pinned(reference: str, digest: str) -> str:
    """A name that stands for one image for ever; without the tag, which not every container engine takes beside it."""
    return f"{_without_tag(reference)}@{digest}"


def repository(reference: str) -> str:
    """Where an image comes from: its name without tag and digest, and without what may be left out."""
    name = _without_tag(reference)
    return next((name.removeprefix(hub) for hub in _HUB if name.startswith(hub)), name)


def find_digest(reference: str, repo_digests: Sequence[str]) -> str | None:
    """The digest under which an image's own registry gives it out, among those that a container engine knows it by."""
    return next((name.partition("@")[2] for name in repo_digests if repository(name) == repository(reference)), None)


def read_fetched(cache: Path, image: Image) -> Fetched | None:
    """What an image's name stood for here; None where it never ran, or nothing usable was kept."""
    try:
        found = msgspec.json.decode(fetched_path(cache, image.reference).read_bytes(), type=Fetched)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if found.reference == image.reference else None


def write_fetched(cache: Path, fetched: Fetched) -> None:
    path = fetched_path(cache, fetched.reference)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(msgspec.json.encode(fetched))
    unfinished.replace(path)


def software_path(cache: Path, image_id: str) -> Path:
    """Where is kept what an image says of its vLLM."""
    return cache / "images" / f"{_file_name(image_id)}.json"


def software_of(image: Image, cache: Path) -> Software:
    """What is known of an image's vLLM without asking it: what it said when it last ran here, else the catalogue's."""
    fetched = read_fetched(cache, image)
    said = read_software(software_path(cache, fetched.image_id)) if fetched else None
    return said or Software(image.vllm)


@cache
def images() -> tuple[Image, ...]:
    text = resources.files("vedette.engine.hosts").joinpath("images.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Catalogue).image


def fetched_path(cache: Path, reference: str) -> Path:
    """Where is kept what a name stood for."""
    return cache / "images" / f"name-{_file_name(reference)}.json"


def _file_name(text: str) -> str:
    return re.sub("[^0-9A-Za-z]+", "-", text)


def _without_tag(reference: str) -> str:
    name = reference.partition("@")[0]
    colon = name.rfind(":")
    return name[:colon] if colon > name.rfind("/") else name  # a registry's port has a slash behind it


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
