"""InternVL: a grid of squares and the whole picture, each of as many tokens. Pure.

Source: vLLM 0.32, internvl.py with transformers_utils/processors/internvl.py (InternVL's own files) and interns1.py
(those in Hugging Face's form).
"""

from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.models.families.family import Family, VisionFiles
from vedette.models.families.square_encoder import MAX_IMAGE_SIZE, parse_layer_sizes
from vedette.models.families.tile_grid import TiledVision, closest_grid, parse_side, parse_tiles, tile_grids

MARKERS = ("<img>", "</img>")


@dataclass(frozen=True, kw_only=True)
class InternVision(TiledVision):
    """Between 1 and `most_tiles` squares, and one of the whole picture if there are several."""

    tile_tokens: int
    least_tiles: int
    whole_picture: bool
    """Several squares are joined by one of the whole picture (`use_thumbnail`)."""
    markers: int
    limit_name: str
    """What the processor calls the most tiles."""

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        most = self.limited_tiles(max_pixels)
        grids = tile_grids(min(self.least_tiles, most), most, wide_last=self.limit_name == "max_patches")
        columns, rows = closest_grid(width, height, grids, self.tile_edge)
        return self.tokens_of_tiles(columns * rows)

    def tokens_of_tiles(self, tiles: int) -> int:
        return (tiles + (self.whole_picture and tiles > 1)) * self.tile_tokens + self.markers

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        return {} if image_max_pixels is None else {self.limit_name: self.limited_tiles(image_max_pixels)}


def parse(files: VisionFiles) -> InternVision:
    """The vision part of an InternVL model, in its own form or in Hugging Face's."""
    own = files.model_type == "internvl_chat"
    image_size, patch_size = parse_side(files.encoder, "image_size", 448), parse_side(files.encoder, "patch_size", 14)
    if patch_size > image_size or image_size > MAX_IMAGE_SIZE:
        raise ModelCorruptError(
            "models.patch_too_large", where=files.encoder.where, image_size=image_size, patch_size=patch_size
        )
    ratio = files.config.number("downsample_ratio", default=0.5, most=1)
    tokens = max(1, int((image_size // patch_size) ** 2 * ratio**2))
    limits = files.config if own else files.pictures
    dynamic = limits.values.get("dynamic_image_size" if own else "crop_to_patches", own)
    most = parse_tiles(limits, "max_dynamic_patch" if own else "max_patches", 12)
    least = parse_tiles(limits, "min_dynamic_patch" if own else "min_patches", 1)
    return InternVision(
        patch_size=patch_size,
        merge_size=max(1, round(1 / ratio)),
        max_pixels=(most if dynamic is not False else 1) * image_size**2,
        **parse_layer_sizes(files.encoder, default_hidden_size=1024),
        tile_edge=image_size,
        most_tiles=most if dynamic is not False else 1,
        tile_tokens=tokens if own else files.pictures.size("image_seq_length", default=tokens),
        least_tiles=least,
        whole_picture=bool(limits.values.get("use_thumbnail", True)) if own else True,
        markers=sum(1 if files.knows_token(marker) else len(marker) for marker in MARKERS),
        limit_name="max_dynamic_patch" if own else "max_patches",
    )


FAMILY = Family({"internvl_chat": "qwen2", "internvl": "qwen2"}, parse)
