"""MiniCPM-V: the whole picture and a grid of slices, each of which a resampler turns into as many tokens. Pure.

Source: vLLM 0.32, minicpmv.py; the checkpoints' own image_processing_minicpmv.py (2.6, 4 and 4.5), which vLLM calls.
"""

import math
from dataclasses import dataclass
from typing import Any

from vedette.models.families.family import Family, VisionFiles
from vedette.models.families.square_encoder import parse_layer_sizes
from vedette.models.families.tile_grid import TiledVision, check_area, parse_tiles

NUMBER_MARKERS = 3
"""`<image_id>`, the picture's number and `</image_id>`."""


@dataclass(frozen=True, kw_only=True)
class MiniCpmVision(TiledVision):
    """Up to `most_tiles` slices, and the whole picture before them."""

    slice_tokens: int
    numbered: bool
    """Every picture has its number in front."""

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        columns, rows = self.grid(width, height, self.limited_tiles(max_pixels))
        return self._tokens(columns * rows, rows)

    def tokens_of_tiles(self, tiles: int) -> int:
        return self._tokens(tiles, tiles)

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        return {} if image_max_pixels is None else {"max_slice_nums": self.limited_tiles(image_max_pixels)}

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        tiles = self.limited_tiles(max_pixels)
        return (tiles + 1) * (self.tile_edge // self.patch_size) ** 2

    def grid(self, width: int, height: int, most: int) -> tuple[int, int]:
        """Columns and rows of slices; 0 and 0 for a picture that stays whole."""
        check_area(width, height)
        wanted = min(math.ceil(width * height / self.tile_edge**2), most)
        if wanted <= 1:
            return 0, 0
        counts = [count for count in (wanted - 1, wanted, wanted + 1) if count != 1 and count <= most]
        grids = [
            (columns, count // columns) for count in counts for columns in range(1, count + 1) if count % columns == 0
        ]
        shape = math.log(width / height)
        return min(grids, key=lambda grid: abs(shape - math.log(grid[0] / grid[1])), default=(1, 1))

    def _tokens(self, slices: int, rows: int) -> int:
        """Markers stand around every slice, and a line end between rows."""
        whole = self.slice_tokens + 2 + (NUMBER_MARKERS if self.numbered else 0)
        return whole + slices * (self.slice_tokens + 2) + max(0, rows - 1)


def parse(files: VisionFiles) -> MiniCpmVision | None:
    """The vision part of a MiniCPM-V or MiniCPM-o model; None without its processor's file, which vLLM needs."""
    pictures = files.pictures
    if not pictures.values:
        return None
    slicing = files.config.section("slice_config") or pictures
    most = parse_tiles(pictures, "max_slice_nums", parse_tiles(slicing, "max_slice_nums", 9))
    tile_edge = pictures.size("scale_resolution", default=448)
    sliced = pictures.values.get("slice_mode") is not False
    return MiniCpmVision(
        patch_size=pictures.size("patch_size", default=14),
        merge_size=1,
        max_pixels=(most if sliced else 1) * tile_edge**2,
        **parse_layer_sizes(files.encoder, default_hidden_size=1152),
        tile_edge=tile_edge,
        most_tiles=most if sliced else 1,
        slice_tokens=pictures.size("image_feature_size", default=files.config.size("query_num", default=64)),
        # vLLM asks for numbers from 2.6 on; files of 2.0 and 2.5 name no version (`get_version_by_config`).
        numbered=str(files.config.values.get("version")) not in {"None", "2.0", "2.5"},
    )


FAMILY = Family({"minicpmv": "qwen2", "minicpmo": "qwen2"}, parse)
