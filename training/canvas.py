"""One batch as arrays: the numbers that pictures are drawn from, and the tokens of the talk about them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.camera import Shot, extent, inverse
from training.render import FRAME, MAX_THINGS, THING, sprite_numbers
from training.shape import CELLS
from vedette.scene.world import COLOURS, KINDS, Scene, Thing

LENGTH = 384  # tokens of a row


@dataclass(frozen=True)
class Rows:
    """How many rows of each sort a batch has, and the vision sequences and frames that each may use."""

    one_picture: int
    two_pictures: int
    clips: int  # eight frames, or four large ones: two vision sequences
    six_frame_clips: int  # three vision sequences
    no_picture: int

    @property
    def total(self) -> int:
        return self.one_picture + self.two_pictures + self.clips + self.six_frame_clips + self.no_picture

    @property
    def sequences(self) -> int:
        return self.one_picture + 2 * self.two_pictures + 2 * self.clips + 3 * self.six_frame_clips

    @property
    def frames(self) -> int:
        return self.one_picture + 2 * self.two_pictures + 8 * self.clips + 6 * self.six_frame_clips


ROWS = Rows(one_picture=164, two_pictures=40, clips=30, six_frame_clips=8, no_picture=14)
SMALL_ROWS = Rows(one_picture=2, two_pictures=1, clips=1, six_frame_clips=1, no_picture=1)


class Canvas:
    """The arrays of one batch, filled row by row."""

    def __init__(self, rows: Rows) -> None:
        self.frames = np.zeros((rows.frames, len(FRAME)), np.float32)
        self.things = np.zeros((rows.frames, MAX_THINGS, len(THING)), np.float32)
        self.frame_of = np.zeros((rows.sequences, 2, 2), np.int32)
        self.layout = np.zeros(rows.sequences, np.int32)
        self.labels = np.full((rows.sequences, CELLS, 3), -100, np.int64)  # kind, colour, is a centre
        self.ids = np.zeros((rows.total, LENGTH), np.int64)
        self.positions = np.zeros((rows.total, 3, LENGTH), np.int64)
        self.segment = np.full((rows.total, LENGTH), -1, np.int64)
        self.visual = np.zeros((rows.total, LENGTH), np.int64)
        self.targets = np.full((rows.total, LENGTH), -100, np.int64)
        self.frame = 0
        self.sequence = 0
        self.row = 0

    def shoot(self, shot: Shot, scene: Scene, grid: tuple[int, int]) -> int:
        """Adds a frame of `scene` as the shot sees it; returns its number."""
        number = self.frame
        self.frame += 1
        width, height = extent(scene.aspect)
        pixels_x, pixels_y = grid[1] * 32, grid[0] * 32
        self.frames[number] = (
            len(scene.things), *inverse(shot.camera.matrix)[:8], width / pixels_x, height / pixels_y, width, height,
            *shot.backdrop, *shot.look, pixels_x, pixels_y,
        )  # fmt: skip
        px_per_unit = min(pixels_x / width, pixels_y / height) * shot.camera.scale
        for slot, thing in zip(self.things[number], scene.things, strict=False):
            slot[:] = _thing_numbers(thing, width, height, px_per_unit, shot)
        return number

    def label(self, sequence: int, start: int, grid: tuple[int, int], seen: Scene) -> None:
        """Labels each cell with the thing that covers it, for the auxiliary loss."""
        rows, columns = grid
        width, height = extent(seen.aspect)
        across, down = width / columns, height / rows
        cells = self.labels[sequence, start : start + rows * columns].reshape(rows, columns, 3)
        cells[:] = 0  # padding keeps no label: the gradient of empty patches explodes
        for thing in seen.things:
            radius = max(0.4 * thing.size, 0.55 * max(across, down))
            x, y = thing.x * width, thing.y * height
            left, right = max(0, int((x - radius) / across)), min(columns, int((x + radius) / across) + 1)
            top, bottom = max(0, int((y - radius) / down)), min(rows, int((y + radius) / down) + 1)
            kind, colour = KIND_NUMBER[thing.kind], COLOUR_NUMBER[thing.colour]
            for row in range(top, bottom):
                for column in range(left, right):
                    if math.hypot((column + 0.5) * across - x, (row + 0.5) * down - y) <= radius:
                        cells[row, column, 0] = kind
                        cells[row, column, 1] = colour
        for thing in seen.things:
            cells[min(rows - 1, int(thing.y * rows)), min(columns - 1, int(thing.x * columns)), 2] = 1


SPRITE_NUMBER = sprite_numbers()
KIND_NUMBER = {kind: index for index, kind in enumerate(KINDS, 1)}
COLOUR_NUMBER = {name: index for index, name in enumerate((None, *COLOURS), 1)}


def _thing_numbers(thing: Thing, width: float, height: float, px_per_unit: float, shot: Shot) -> tuple[float, ...]:
    turn = -math.radians(thing.angle_degrees)  # counter-clockwise, as Pillow turns
    scale = 2 / thing.size
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    flip = -1 if thing.mirrored else 1
    level = round(math.log2(128 / (thing.size * px_per_unit)) + shot.blur)
    rgb = [channel / 255 for channel in thing.rgb] if thing.colour else shot.tint
    drop = thing.size * 0.045
    return (
        thing.x * width, thing.y * height, flip * cos, flip * sin, -sin, cos,
        SPRITE_NUMBER[thing.kind, thing.outlined], min(3, max(0, level)), *rgb, shot.shadow, drop, drop,
    )  # fmt: skip
