"""Visual tokens of pictures that are cut into squares: Idefics3, SmolVLM and LLaVA-NeXT. Pure.

Source: vLLM 0.32, idefics3.py and llava_next.py; transformers 5.19, `get_number_of_image_patches` of
idefics3/image_processing_idefics3.py and `select_best_resolution` of image_processing_utils.py.
"""

import math

from vedette.models.families.vision import Grid, Tiles

NUMBERED_MARKERS = 6
"""Tokenizers that know `<row_1_col_1>` know rows and columns up to this one."""


def tiles_edge(vision: Tiles, max_pixels: int | None) -> int:
    """The longest edge to ask of the processor, so that a square picture gets no more than `max_pixels`.

    It is a multiple of the tile's: otherwise transformers' two ways to count tiles could disagree. And at least two
    tiles: of a picture that stays whole transformers says that it has none, and the engine dies of it (seen with
    vLLM 0.26 and transformers 5.17; 5.19's `get_number_of_image_patches` says the same).
    """
    if max_pixels is None or max_pixels >= vision.longest_edge**2:
        return vision.longest_edge
    return min(vision.longest_edge, max(2, math.isqrt(max_pixels) // vision.tile_edge) * vision.tile_edge)


def tiles_tokens(width: int, height: int, vision: Tiles, max_pixels: int | None) -> int:
    """Prompt tokens of one picture: its tiles with their markers, line ends, and the whole picture."""
    return _tokens(*tile_grid(width, height, vision, max_pixels), vision)


def tile_grid(width: int, height: int, vision: Tiles, max_pixels: int | None) -> tuple[int, int]:
    """Rows and columns of tiles of one picture; 0 and 0 if it stays whole. Raises ValueError without an area."""
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no area")
    edge = tiles_edge(vision, max_pixels)
    ratio = width / height
    if width >= height:
        width, height = edge, _even(int(edge / ratio))
    else:
        width, height = _even(int(edge * ratio)), edge
    rows, columns = (math.ceil(max(1, side) / vision.tile_edge) for side in (height, width))
    return (rows, columns) if max(rows, columns) > 1 else (0, 0)


def most_tiles(vision: Tiles, max_pixels: int | None) -> tuple[int, int]:
    """Rows and columns of the picture with the most tiles: a square, whose second side is rounded to even."""
    return tile_grid(1, 1, vision, max_pixels)


def most_tiles_tokens(vision: Tiles, max_pixels: int | None) -> int:
    """The most that any picture takes."""
    return _tokens(*most_tiles(vision, max_pixels), vision)


def _even(side: int) -> int:
    return side + side % 2


def _tokens(rows: int, columns: int, vision: Tiles) -> int:
    square = (vision.image_size // vision.patch_size) ** 2 // vision.merge_size**2
    marker = 1 if vision.knows_markers else len("<global-img>")
    whole = 2 + marker + square  # between two <fake_token_around_image>
    if rows == 0:
        return whole
    markers = sum(_marker_tokens(row, column, vision) for row in range(rows) for column in range(columns))
    # A line end after every row and one more, which with the last row's is one token where blank lines are.
    line_ends = rows + (0 if vision.knows_blank_line else 1)
    return rows * columns * (1 + square) + markers + line_ends + whole


def _marker_tokens(row: int, column: int, vision: Tiles) -> int:
    """Tokens of `<row_1_col_1>`; where it is plain text, at most one for each letter."""
    if vision.knows_markers and max(row, column) < NUMBERED_MARKERS:
        return 1
    return len(f"<row_{row + 1}_col_{column + 1}>")


def grid_tokens(width: int, height: int, vision: Grid) -> int:
    """Prompt tokens of one picture: the whole as a square, and its patches in a grid without the padding."""
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no area")
    side = vision.image_size // vision.patch_size
    fit_height, fit_width = _best_pinpoint(width, height, vision)
    rows, columns = (side * (length // vision.image_size) for length in (fit_height, fit_width))
    if width / height > columns / rows:
        rows -= 2 * ((rows - int(round(height * (columns / width), 7))) // 2)
    else:
        columns -= 2 * ((columns - int(round(width * (rows / height), 7))) // 2)
    return rows * columns + rows + vision.square_tokens


def most_grid_tokens(vision: Grid) -> int:
    """The most that any picture takes: every patch of the largest grid, and one token at each row's end."""
    side = vision.image_size // vision.patch_size
    grids = [
        (side * (height // vision.image_size), side * (width // vision.image_size))
        for height, width in vision.pinpoints
    ]
    return max(rows * columns + rows for rows, columns in grids) + vision.square_tokens


def _best_pinpoint(width: int, height: int, vision: Grid) -> tuple[int, int]:
    """The shape that keeps the most of a picture and, among equals, wastes the least; the first of equals."""

    def kept_and_wasted(pinpoint: tuple[int, int]) -> tuple[int, int]:
        fit_height, fit_width = pinpoint
        scale = min(fit_width / width, fit_height / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - fit_width * fit_height

    return max(vision.pinpoints, key=kept_and_wasted)
