"""Idefics3 and SmolVLM: pictures are enlarged and cut into square tiles. Pure.

Source: vLLM 0.32, idefics3.py; transformers 5.19, `get_number_of_image_patches` of
idefics3/image_processing_idefics3.py.
"""

import math
from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.models.families.family import PLANNED_ASPECT_RATIO, Family, Vision, VisionFiles
from vedette.models.families.square_encoder import parse_layer_sizes, parse_square

MAX_NUMBERED_MARKER = 6
"""Tokenizers that know `<row_1_col_1>` know rows and columns up to this one."""
MAX_TILES_PER_SIDE = 64
"""Published models have 4."""
MAX_PICTURE_SIDE = 4096
"""transformers never makes a picture longer than this, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Idefics3Vision(Vision):
    """Every picture is enlarged to one length and cut into tiles; the whole picture is added as one more tile."""

    longest_edge: int
    """Pixels that the longer side of every picture gets."""
    tile_edge: int
    image_size: int
    """Pixels along one side of a tile as the encoder sees it."""
    knows_markers: bool
    """The tokenizer has tokens such as `<row_1_col_1>`: markers are counted exactly, not bounded."""
    knows_blank_line: bool
    """The tokenizer has one token for two line ends."""

    hidden_states = 6

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        """Tokens of the tiles with their markers, of the line ends, and of the whole picture."""
        return self._grid_tokens(*self.tile_grid(width, height, max_pixels))

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        return self._grid_tokens(*self._largest_grid(max_pixels))

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        rows, columns = self._largest_grid(max_pixels)
        return (rows * columns + 1) * (self.image_size // self.patch_size) ** 2

    def pixel_limits(self) -> tuple[int, ...]:
        """The model's own limit, and the squares of every whole number of tiles from two on."""
        most = self.longest_edge // self.tile_edge
        edges = [self.tile_edge * tiles for tiles in range(most, 1 if most > 1 else 0, -1)]
        return tuple(dict.fromkeys(edge**2 for edge in (self.longest_edge, *edges)))

    def nearest_limit(self, max_pixels: int) -> int:
        return self.limited_edge(max_pixels) ** 2

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        if image_max_pixels is None:
            return {}
        # Not inside `images_kwargs`: vLLM counts the tiles by the values at the top level.
        return {"size": {"longest_edge": self.limited_edge(image_max_pixels)}}

    def limited_edge(self, max_pixels: int | None) -> int:
        """The longest edge to ask of the processor, so that a square picture gets no more than `max_pixels`.

        It is a multiple of the tile's edge: otherwise transformers' two ways to count tiles could disagree. It is at
        least two tiles: for a picture that stays whole transformers says that it has no tiles, and the engine crashes
        (seen with vLLM 0.26 and transformers 5.17; 5.19's `get_number_of_image_patches` says the same).
        """
        if max_pixels is None or max_pixels >= self.longest_edge**2:
            return self.longest_edge
        return min(self.longest_edge, max(2, math.isqrt(max_pixels) // self.tile_edge) * self.tile_edge)

    def tile_grid(self, width: int, height: int, max_pixels: int | None = None) -> tuple[int, int]:
        """Rows and columns of tiles of one picture; 0 and 0 if it stays whole."""
        if width <= 0 or height <= 0:
            raise ValueError(f"a picture of {width}x{height} pixels has no area")
        edge = self.limited_edge(max_pixels)
        ratio = width / height
        if width >= height:
            width, height = edge, _even(int(edge / ratio))
        else:
            width, height = _even(int(edge * ratio)), edge
        rows, columns = (math.ceil(max(1, side) / self.tile_edge) for side in (height, width))
        return (rows, columns) if max(rows, columns) > 1 else (0, 0)

    def _largest_grid(self, max_pixels: int | None) -> tuple[int, int]:
        """The grid of a square picture: no other picture has more tiles, as its second side is rounded to even."""
        return self.tile_grid(1, 1, max_pixels)

    def _grid_tokens(self, rows: int, columns: int) -> int:
        tile = (self.image_size // self.patch_size) ** 2 // self.merge_size**2
        marker = 1 if self.knows_markers else len("<global-img>")
        whole = 2 + marker + tile  # between two <fake_token_around_image>
        if rows == 0:
            return whole
        markers = sum(self._marker_tokens(row, column) for row in range(rows) for column in range(columns))
        # A line end after every row and one more, which is one token with the last row's if blank lines are known.
        line_ends = rows + (0 if self.knows_blank_line else 1)
        return rows * columns * (1 + tile) + markers + line_ends + whole

    def _marker_tokens(self, row: int, column: int) -> int:
        """Tokens of `<row_1_col_1>`; where it is plain text, at most one for each letter."""
        if self.knows_markers and max(row, column) < MAX_NUMBERED_MARKER:
            return 1
        return len(f"<row_{row + 1}_col_{column + 1}>")


def _even(side: int) -> int:
    return side + side % 2


def parse(files: VisionFiles) -> Idefics3Vision:
    """The vision part of an Idefics3 or SmolVLM model."""
    image_size, patch_size = parse_square(files.encoder, default_patch_size=32)
    longest_edge, tile_edge = _edges(files)
    merge_size = files.config.size("scale_factor", default=2)
    if merge_size > image_size // patch_size:
        raise ModelCorruptError("models.scale_factor_too_large", where=files.config.where)
    return Idefics3Vision(
        patch_size=patch_size,
        merge_size=merge_size,
        max_pixels=max(tile_edge, longest_edge) ** 2,
        **parse_layer_sizes(files.encoder, default_hidden_size=1152),
        longest_edge=longest_edge,
        tile_edge=tile_edge,
        image_size=image_size,
        knows_markers=files.knows_token("<row_1_col_1>"),
        knows_blank_line=files.knows_token("ĊĊ"),
    )


def _edges(files: VisionFiles) -> tuple[int, int]:
    """Pixels of a picture's longer side, and of a tile's sides."""
    size, tile = files.pictures.section("size"), files.pictures.section("max_image_size")
    tile_edge = 364 if tile is None else tile.size("longest_edge")
    longest_edge = min(MAX_PICTURE_SIDE, 4 * 364 if size is None else size.size("longest_edge"))
    if files.pictures.values.get("do_image_splitting") is False:
        longest_edge = tile_edge
    if longest_edge > MAX_TILES_PER_SIDE * tile_edge:
        tiles = -(-longest_edge // tile_edge)
        raise ModelCorruptError("models.too_many_tiles", where=files.pictures.where, tiles=tiles)
    return longest_edge, tile_edge


FAMILY = Family({"idefics3": "llama", "smolvlm": "llama"}, parse)
