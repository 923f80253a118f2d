"""Phi-3-vision and Phi-3.5-vision: a grid of CLIP's squares, and one of the whole picture. Pure.

Source: vLLM 0.32, phi3v.py; the checkpoints' own image_processing_phi3_v.py, which vLLM calls.
"""

import math
from dataclasses import dataclass
from typing import Any

from vedette.models.families.family import Family, VisionFiles
from vedette.models.families.tile_grid import TiledVision, check_area, parse_tiles

EDGE, ROW_TOKENS = 336, 12
CLIP_LARGE = {"hidden_size": 1024, "intermediate_size": 4096}


@dataclass(frozen=True, kw_only=True)
class Phi3Vision(TiledVision):
    """Every picture is enlarged until its grid has up to `most_tiles` squares."""

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        check_area(width, height)
        wide, high = max(width, height), min(width, height)
        most, columns = self.limited_tiles(max_pixels), 1
        while columns * math.ceil(columns / (wide / high)) <= most:
            columns += 1
        columns = max(1, columns - 1)
        rows = max(0, math.ceil(int(columns * EDGE / (wide / high)) / EDGE))
        if width < height:
            columns, rows = rows, columns
        return self._tokens(columns, rows)

    def tokens_of_tiles(self, tiles: int) -> int:
        return self._tokens(1, tiles)

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        return {} if image_max_pixels is None else {"num_crops": self.limited_tiles(image_max_pixels)}

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        return (self.limited_tiles(max_pixels) + 1) * (EDGE // self.patch_size) ** 2

    def _tokens(self, columns: int, rows: int) -> int:
        return (columns * rows + 1) * ROW_TOKENS**2 + 1 + (rows + 1) * ROW_TOKENS


def parse(files: VisionFiles) -> Phi3Vision | None:
    """The vision part of a Phi-3-vision model; None without its processor's file, which vLLM needs."""
    if not files.pictures.values:
        return None
    most = parse_tiles(files.pictures, "num_crops", 1)
    return Phi3Vision(
        patch_size=14,
        merge_size=2,
        max_pixels=most * EDGE**2,
        **CLIP_LARGE,
        tile_edge=EDGE,
        most_tiles=most,
    )


FAMILY = Family({"phi3_v": "phi3"}, parse)
