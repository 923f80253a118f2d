"""DeepSeek-OCR: a square of the whole page, and a grid of tiles for larger ones. Pure.

Source: vLLM 0.32, `get_num_image_tokens` of deepseek_ocr.py and transformers_utils/processors/deepseek_ocr.py, whose
sizes are fixed.
"""

import math
from dataclasses import dataclass

from vedette.models.families.family import PLANNED_ASPECT_RATIO, Family, Vision, VisionFiles
from vedette.models.families.tile_grid import check_area, closest_grid, tile_grids

PAGE_EDGE, TILE_EDGE, LEAST_TILES, MOST_TILES = 1024, 640, 2, 6
ARCHITECTURE = "DeepseekOCRForCausalLM"
CLIP_PATCH = 14
CLIP_LARGE = {"hidden_size": 1024, "intermediate_size": 4096}


@dataclass(frozen=True, kw_only=True)
class DeepseekOcrVision(Vision):
    """Pictures above TILE_EDGE are cut into 2 to 6 tiles, whose rows end with a token each."""

    hidden_states = 6

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        check_area(width, height)
        if width <= TILE_EDGE and height <= TILE_EDGE:
            return self._tokens(1, 1)
        return self._tokens(*closest_grid(width, height, tile_grids(LEAST_TILES, MOST_TILES), TILE_EDGE))

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        return max(self._tokens(*grid) for grid in tile_grids(LEAST_TILES, MOST_TILES))

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        return (PAGE_EDGE // self.patch_size) ** 2 + MOST_TILES * (TILE_EDGE // self.patch_size) ** 2

    @property
    def patch_sides(self) -> tuple[int, ...]:
        """Of the page's encoder (SAM's), and of the one that reads its output (CLIP's)."""
        return self.patch_size, CLIP_PATCH

    def pixel_limits(self) -> tuple[int, ...]:
        return ()

    def _tokens(self, columns: int, rows: int) -> int:
        page, tile = (math.ceil(edge // self.patch_size / self.merge_size) for edge in (PAGE_EDGE, TILE_EDGE))
        tiles = rows * tile * (columns * tile + 1) if columns * rows > 1 else 0
        return page * (page + 1) + tiles + 1


def parse(files: VisionFiles) -> DeepseekOcrVision | None:
    """The vision part of DeepSeek-OCR; None for DeepSeek-VL2, which has the same type."""
    if files.config.values.get("architectures") != [ARCHITECTURE]:
        return None
    return DeepseekOcrVision(patch_size=16, merge_size=4, max_pixels=MOST_TILES * TILE_EDGE**2, **CLIP_LARGE)


FAMILY = Family({"deepseek_vl_v2": "deepseek_v2"}, parse)
