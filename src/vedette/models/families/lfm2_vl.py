"""LFM2-VL: small pictures as they are, large ones as a grid of tiles and the whole picture. Pure.

Source: vLLM 0.32, lfm2_vl.py; transformers 5.19, lfm2_vl/image_processing_lfm2_vl.py.
"""

import math
from dataclasses import dataclass
from typing import Any

from vedette.models.families.family import Family, VisionFiles
from vedette.models.families.square_encoder import parse_layer_sizes
from vedette.models.families.tile_grid import TiledVision, check_area, closest_grid, parse_tiles, tile_grids

MARKERS = ("<|image_start|>", "<|image_end|>")
WHOLE_MARKER = "<|img_thumbnail|>"


@dataclass(frozen=True, kw_only=True)
class Lfm2Vision(TiledVision):
    """Pictures of up to `most_tokens` times `tolerance` tokens are only resized; others are cut as well."""

    least_tokens: int
    most_tokens: int
    """Of a picture that is not cut, and of the whole picture beside its tiles."""
    tolerance: float
    least_tiles: int
    knows_markers: bool

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        check_area(width, height)
        whole, most = self._whole_tokens(width, height), self.limited_tiles(max_pixels)
        if most == 1 or not self._is_large(width, height):
            return whole + self._marker_tokens(*MARKERS)
        grids = tile_grids(min(self.least_tiles, most), most)
        columns, rows = closest_grid(width, height, grids, self.tile_edge)
        if columns * rows == 1:
            return whole + self._marker_tokens(*MARKERS)
        names = [f"<|img_row_{row + 1}_col_{column + 1}|>" for row in range(rows) for column in range(columns)]
        return columns * rows * self._tile_tokens + self._marker_tokens(*names, WHOLE_MARKER, *MARKERS) + whole

    def tokens_of_tiles(self, tiles: int) -> int:
        whole = self.most_tokens + self._marker_tokens(*MARKERS)
        if tiles == 1:
            return whole
        return (
            tiles * (self._tile_tokens + self._marker_tokens("<|img_row_10_col_10|>"))
            + whole
            + self._marker_tokens(WHOLE_MARKER)
        )

    def nearest_limit(self, max_pixels: int) -> int:
        tiles = self.limited_tiles(max_pixels)
        return (1 if tiles < self.least_tiles else tiles) * self.tile_edge**2

    def limited_tiles(self, max_pixels: int | None) -> int:
        tiles = super().limited_tiles(max_pixels)
        return 1 if tiles < self.least_tiles else tiles

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        if image_max_pixels is None:
            return {}
        most = self.limited_tiles(image_max_pixels)
        return {"min_tiles": min(self.least_tiles, most), "max_tiles": most}

    @property
    def _side(self) -> int:
        """Pixels along one side of a token."""
        return self.patch_size * self.merge_size

    @property
    def _tile_tokens(self) -> int:
        return math.ceil(self.tile_edge // self.patch_size / self.merge_size) ** 2

    def _is_large(self, width: int, height: int) -> bool:
        side = self._side
        area = max(self.patch_size, round(height / side) * side) * max(self.patch_size, round(width / side) * side)
        return area > self.most_tokens * side**2 * self.tolerance

    def _whole_tokens(self, width: int, height: int) -> int:
        """Tokens of the whole picture, whose area is kept within limits."""
        side = self._side
        least, most = self.least_tokens * side**2, self.most_tokens * side**2
        rows, columns = max(side, round(height / side) * side), max(side, round(width / side) * side)
        if rows * columns > most:
            shrink = math.sqrt(height * width / most)
            rows = max(side, math.floor(height / shrink / side) * side)
            columns = max(side, math.floor(width / shrink / side) * side)
        elif rows * columns < least:
            grow = math.sqrt(least / (height * width))
            rows, columns = (math.ceil(length * grow / side) * side for length in (height, width))
        return rows * columns // side**2

    def _marker_tokens(self, *names: str) -> int:
        return len(names) if self.knows_markers else sum(map(len, names))


def parse(files: VisionFiles) -> Lfm2Vision:
    """The vision part of an LFM2-VL model. Its processor's settings come before config.json's."""
    pictures = files.pictures
    patch_size = pictures.size("encoder_patch_size", default=16)
    tile_edge = pictures.size("tile_size", default=512)
    most = parse_tiles(pictures, "max_tiles", 10)
    if pictures.values.get("do_image_splitting") is False:
        most = 1
    return Lfm2Vision(
        patch_size=patch_size,
        merge_size=pictures.size("downsample_factor", default=2),
        max_pixels=most * tile_edge**2,
        **parse_layer_sizes(files.encoder),
        tile_edge=tile_edge,
        most_tiles=most,
        least_tokens=pictures.size("min_image_tokens", default=64),
        most_tokens=pictures.size("max_image_tokens", default=256),
        tolerance=pictures.number("max_pixels_tolerance", default=2.0),
        least_tiles=parse_tiles(pictures, "min_tiles", 2),
        knows_markers=files.knows_token(MARKERS[0]),
    )


FAMILY = Family({"lfm2_vl": "lfm2"}, parse)
