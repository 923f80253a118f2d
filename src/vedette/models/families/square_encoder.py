"""Encoders that see squares of one size (SigLIP and CLIP), and pictures that become one such square. Pure."""

from dataclasses import dataclass

from vedette.errors import ModelCorruptError
from vedette.models.config_reader import ConfigReader
from vedette.models.families.family import PLANNED_ASPECT_RATIO, Vision

MAX_IMAGE_SIZE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class SquareVision(Vision):
    """Every picture becomes one square of the same size and the same number of tokens."""

    image_size: int
    """Pixels along one side of the square."""
    tokens_per_picture: int
    """Markers included."""

    hidden_states = 1

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        return self.tokens_per_picture

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        return self.tokens_per_picture

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        return (self.image_size // self.patch_size) ** 2

    def pixel_limits(self) -> tuple[int, ...]:
        return ()


def parse_square(encoder: ConfigReader, default_patch_size: int) -> tuple[int, int]:
    """Pixels along one side of the encoder's square, and along one side of a patch."""
    image_size = encoder.size("image_size", default=224)
    patch_size = encoder.size("patch_size", default=default_patch_size)
    if patch_size > image_size or image_size > MAX_IMAGE_SIZE:
        raise ModelCorruptError(
            "models.patch_too_large", where=encoder.where, image_size=image_size, patch_size=patch_size
        )
    return image_size, patch_size


def parse_layer_sizes(encoder: ConfigReader, default_hidden_size: int = 768) -> dict[str, int]:
    """Sizes of one layer, as keyword arguments of `Vision`."""
    return {
        "hidden_size": encoder.size("hidden_size", default=default_hidden_size),
        "intermediate_size": encoder.size("intermediate_size", default=3072),
    }
