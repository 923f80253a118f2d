"""Gemma 3: every picture becomes one square of 256 tokens. Pure.

Source: vLLM 0.32, gemma3_mm.py. Its Gemma3ProcessorKwargs always switch pan and scan off, so no
crops of long pictures are added.
"""

from dataclasses import dataclass

from vedette.models.families.family import Family, VisionFiles
from vedette.models.families.square_encoder import SquareVision, parse_layer_sizes, parse_square

MARKERS = 4
"""`<start_of_image>`, `<end_of_image>`, and a blank line (one token) before and after them."""


@dataclass(frozen=True, kw_only=True)
class Gemma3Vision(SquareVision):
    """A square picture whose tokens attend to each other in both directions."""

    bidirectional_pictures = True


def parse(files: VisionFiles) -> Gemma3Vision:
    """The vision part of a Gemma 3 model."""
    image_size, patch_size = parse_square(files.encoder, default_patch_size=16)
    tokens = files.config.size("mm_tokens_per_image", default=256)
    return Gemma3Vision(
        patch_size=patch_size,
        merge_size=max(1, image_size // patch_size // max(1, round(tokens**0.5))),
        max_pixels=image_size**2,
        **parse_layer_sizes(files.encoder),
        image_size=image_size,
        tokens_per_picture=tokens + MARKERS,
    )


FAMILY = Family({"gemma3": "gemma3_text"}, parse)
