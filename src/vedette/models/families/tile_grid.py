"""Grids of square tiles that a picture is cut into, the one of the nearest shape taken. Pure.

Source: vLLM 0.32, transformers_utils/processors/internvl.py and deepseek_ocr.py; transformers 5.19,
lfm2_vl/image_processing_lfm2_vl.py and got_ocr2/image_processing_got_ocr2.py.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache

from vedette.errors import ModelCorruptError
from vedette.models.config_reader import ConfigReader
from vedette.models.families.family import PLANNED_ASPECT_RATIO, Vision

MOST_TILES = 64
"""Published models have 12 at most."""


@dataclass(frozen=True, kw_only=True)
class TiledVision(Vision):
    """Every picture is fitted into a grid of tiles; the whole picture is added as one more tile."""

    tile_edge: int
    """Pixels along one side of a tile."""
    most_tiles: int
    """The model's own limit, without the whole picture."""

    hidden_states = 6

    @abstractmethod
    def tokens_of_tiles(self, tiles: int) -> int:
        """An upper bound of the tokens of a picture in so many tiles, markers included."""

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        return max(self.tokens_of_tiles(tiles) for tiles in (1, self.limited_tiles(max_pixels)))

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        tiles = self.limited_tiles(max_pixels)
        return (tiles + (tiles > 1)) * (self.tile_edge // self.patch_size) ** 2

    def pixel_limits(self) -> tuple[int, ...]:
        """The squares of whole numbers of tiles."""
        wanted = (self.most_tiles, *(tiles for tiles in (12, 9, 6, 4, 2, 1) if tiles < self.most_tiles))
        return tuple(tiles * self.tile_edge**2 for tiles in wanted)

    def nearest_limit(self, max_pixels: int) -> int:
        return self.limited_tiles(max_pixels) * self.tile_edge**2

    def limited_tiles(self, max_pixels: int | None) -> int:
        """The most tiles of a picture with this limit of its area."""
        if max_pixels is None:
            return self.most_tiles
        return max(1, min(self.most_tiles, max_pixels // self.tile_edge**2))


@cache
def tile_grids(least: int, most: int, *, wide_last: bool = False) -> tuple[tuple[int, int], ...]:
    """Columns and rows of every grid of `least` to `most` tiles, the smaller before the larger.

    Of equally near shapes the first is taken, so the order is the processors': that of a set, except in
    transformers' GOT-OCR2, which InternVL uses (wide_last).
    """
    if wide_last:
        sides = range(1, most + 1)
        ordered = [(columns, rows) for columns in sides for rows in sides if least <= columns * rows <= most]
        return tuple(sorted(ordered, key=lambda grid: grid[0] * grid[1]))
    grids = {
        (columns, rows)
        for tiles in range(least, most + 1)
        for columns in range(1, tiles + 1)
        for rows in range(1, tiles + 1)
        if least <= columns * rows <= most
    }
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))


def closest_grid(width: int, height: int, grids: tuple[tuple[int, int], ...], tile_edge: int) -> tuple[int, int]:
    """Columns and rows of the grid whose shape is the nearest to a picture's; of equals the larger if it has pixels.

    Raises ValueError for a picture without area.
    """
    check_area(width, height)
    best, least_difference = (1, 1), float("inf")
    for grid in grids:
        difference = abs(width / height - grid[0] / grid[1])
        larger = width * height > 0.5 * tile_edge * tile_edge * grid[0] * grid[1]
        if difference < least_difference or (difference == least_difference and larger):
            best, least_difference = grid, difference
    return best


def check_area(width: int, height: int) -> None:
    """Raise ValueError for a picture without area."""
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no area")


def parse_tiles(reader: ConfigReader, name: str, default: int) -> int:
    """A number of tiles. Raises ModelCorruptError for one that no model has."""
    tiles = reader.size(name, default=default)
    if tiles > MOST_TILES:
        raise ModelCorruptError("models.too_many_tiles", where=reader.where, tiles=tiles)
    return tiles


def parse_side(reader: ConfigReader, name: str, default: int) -> int:
    """A side in pixels, which some files give as a height and a width."""
    value = reader.values.get(name)
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        return ConfigReader({name: value[0]}, reader.where).size(name)
    return reader.size(name, default=default)
