"""The container images that vedette knows, by what they run on; images.toml holds them."""

from functools import cache
from importlib import resources

import msgspec

from vedette.errors import EngineInstallError


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
        return f"{self.reference}@{self.digest}" if self.digest else self.reference


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
    return known or Image(reference, image_for_gpu().vllm)


@cache
def images() -> tuple[Image, ...]:
    text = resources.files("vedette.engine").joinpath("images.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Catalogue).image


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
