"""The catalogue of container images (images.toml), and which image a tag stood for when it was fetched.

A publisher may move a tag to another image. vedette keeps using the image that it fetched.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from vedette.engine.vllm.software import Software, read_software
from vedette.errors import EngineInstallError
from vedette.files import read_whole, write_whole
from vedette.language.foreign_text import reason_in

_REFERENCE = re.compile(r"[A-Za-z0-9][\w.:/@-]*", re.ASCII)
"""The characters of an image's name with registry, tag and digest; Docker checks the rest."""
_MOST_RECORD_BYTES = 16_384
_HUB = ("docker.io/library/", "docker.io/", "index.docker.io/")
"""Beginnings of names on Docker's own registry, which may be left out."""


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container image with vLLM in it."""

    reference: str
    vllm: str
    """The version of vLLM to assume until the image's own is read."""
    entrypoint: str | None = None
    """The program to use in place of the image's entry point; None if that runs the command it is given."""
    l4t_from: str | None = None
    l4t_before: str | None = None
    digest: str | None = None
    gpu: str | None = None
    """The architecture that it is for, such as `sm_87`; None for all."""

    @property
    def pinned(self) -> str:
        """The image's name, by digest if that is known, which names exactly one image."""
        return pinned(self.reference, self.digest) if self.digest else self.reference


class Fetched(msgspec.Struct, frozen=True):
    """The image that a name stood for when it last ran here."""

    reference: str
    image_id: str
    """Hash of its content, from Docker or Podman."""
    digest: str | None
    """The registry's digest (sha256:…); None for an image that was built or loaded here."""

    @property
    def pinned(self) -> str:
        return pinned(self.reference, self.digest) if self.digest else self.reference


class _Catalogue(msgspec.Struct, frozen=True):
    image: tuple[Image, ...]


def image_for_jetson(l4t: str | None, gpu: str | None = None) -> Image:
    """The image for a version of Jetson Linux, such as `36.4.3`. Raises EngineInstallError if none is known.

    gpu: its architecture, such as `sm_87`.
    """
    if l4t is None:
        raise EngineInstallError("engine.no_image_for_unknown_jetson")
    version = _numbers(l4t)
    for image in images():
        first, end = image.l4t_from, image.l4t_before
        if image.gpu not in {None, gpu}:
            continue
        if first is not None and end is not None and _numbers(first) <= version < _numbers(end):
            return image
    raise EngineInstallError("engine.no_image_for_jetson", version=l4t)


def image_for_gpu() -> Image:
    """The image for an NVIDIA GPU that is not a Jetson's."""
    return next(image for image in images() if image.l4t_from is None)


def image_named(reference: str) -> Image:
    """The image of this name, from the catalogue if it is there. Raises EngineInstallError for what is no name."""
    if not _REFERENCE.fullmatch(reference):
        raise EngineInstallError("engine.not_an_image", image=reference)
    known = next((image for image in images() if reference in (image.reference, image.pinned)), None)
    if known is not None:
        return known
    # Another version of a known image is started in the same way.
    similar = next((image for image in images() if repository(image.reference) == repository(reference)), None)
    similar = similar or Image(reference, image_for_gpu().vllm)
    return Image(reference, similar.vllm, similar.entrypoint)


def pinned(reference: str, digest: str) -> str:
    """The name that always stands for one image; without the tag, which some programs refuse beside a digest."""
    return f"{_without_tag(reference)}@{digest}"


def repository(reference: str) -> str:
    """The repository of an image: its name without tag, digest and the name of Docker's own registry."""
    name = _without_tag(reference)
    return next((name.removeprefix(hub) for hub in _HUB if name.startswith(hub)), name)


def find_digest(reference: str, repo_digests: Sequence[str]) -> str | None:
    """The digest that an image has in its own repository, from the names that Docker or Podman lists."""
    return next((name.partition("@")[2] for name in repo_digests if repository(name) == repository(reference)), None)


def parse_inspected(output: str) -> tuple[str, tuple[str, ...]]:
    """An image's hash and its names by digest, from the last line that `image inspect` prints: the hash, then JSON.

    Raises EngineInstallError if there is no hash.
    """
    lines = output.strip().splitlines()
    image_id, _, digests = lines[-1].partition(" ") if lines else ("", "", "")
    if not re.fullmatch("[0-9A-Za-z:_-]{1,200}", image_id):
        raise EngineInstallError("engine.image_not_inspected", output=reason_in(output) or "–")
    try:
        return image_id, msgspec.json.decode(digests, type=tuple[str, ...])
    except (ValueError, RecursionError):  # `null` for an image that was built or loaded here
        return image_id, ()


def read_fetched(cache: Path, image: Image) -> Fetched | None:
    """The image that a name stood for here; None if it never ran, or its record is unusable."""
    try:
        found = msgspec.json.decode(
            read_whole(fetched_path(cache, image.reference), _MOST_RECORD_BYTES, own=True), type=Fetched
        )
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if found.reference == image.reference else None


def write_fetched(cache: Path, fetched: Fetched) -> None:
    """Record which image a name stands for."""
    write_whole(fetched_path(cache, fetched.reference), msgspec.json.encode(fetched))


def software_path(cache: Path, image_id: str) -> Path:
    """The file that records version and options of an image's vLLM."""
    return cache / "images" / f"{_file_name(image_id)}.json"


def software_of(image: Image, cache: Path) -> Software:
    """The vLLM of an image, without running it: from the record of its last run here, else from the catalogue."""
    fetched = read_fetched(cache, image)
    recorded = read_software(software_path(cache, fetched.image_id)) if fetched else None
    return recorded or Software(image.vllm)


@cache
def images() -> tuple[Image, ...]:
    """The catalogue."""
    text = resources.files("vedette.engine.hosts").joinpath("images.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Catalogue).image


def fetched_path(cache: Path, reference: str) -> Path:
    """The file that records which image a name stood for."""
    return cache / "images" / f"name-{_file_name(reference)}.json"


def _file_name(text: str) -> str:
    return re.sub("[^0-9A-Za-z]+", "-", text)


def _without_tag(reference: str) -> str:
    name = reference.partition("@")[0]
    colon = name.rfind(":")
    return name[:colon] if colon > name.rfind("/") else name  # a slash follows a registry's port


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
