"""Draws a scene with Pillow."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

from vedette.scene.world import Background, Scene, Thing

_SPRITES = Path(__file__).parent / "sprites"
_SMOOTHING = 3  # shapes are drawn this much larger, then scaled down
_SHADOW_OPACITY = 70
_BOX = Image.Resampling.BOX

Point = tuple[float, float]


def _around(count: int, radii: tuple[float, ...]) -> list[Point]:
    """`count` points around the centre of the unit square, the first at the top, cycling through `radii`."""
    turns = [2 * math.pi * i / count - math.pi / 2 for i in range(count)]
    return [
        (0.5 + radii[i % len(radii)] * math.cos(turn), 0.5 + radii[i % len(radii)] * math.sin(turn))
        for i, turn in enumerate(turns)
    ]


def _heart() -> list[Point]:
    points = []
    for step in range(60):
        t = 2 * math.pi * step / 60
        across = 16 * math.sin(t) ** 3
        up = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((0.5 + across / 34, 0.46 - up / 34))
    return points


def _moved(points: list[Point], across: float, down: float, scale: float) -> list[Point]:
    return [(0.5 + (x - 0.5) * scale + across, 0.5 + (y - 0.5) * scale + down) for x, y in points]


_DISC = _around(72, (0.49,))

#: Filled outlines, in the unit square.
_OUTLINES: dict[str, list[Point]] = {
    "circle": _DISC,
    "ring": _DISC,
    "crescent": _DISC,
    "square": [(0.08, 0.08), (0.92, 0.08), (0.92, 0.92), (0.08, 0.92)],
    "triangle": [(0.5, 0.06), (0.97, 0.9), (0.03, 0.9)],
    "star": _around(10, (0.5, 0.2)),
    "heart": _heart(),
    "cross": [
        (0.34, 0.03), (0.66, 0.03), (0.66, 0.34), (0.97, 0.34), (0.97, 0.66), (0.66, 0.66),
        (0.66, 0.97), (0.34, 0.97), (0.34, 0.66), (0.03, 0.66), (0.03, 0.34), (0.34, 0.34),
    ],
    "diamond": [(0.5, 0.0), (0.84, 0.5), (0.5, 1.0), (0.16, 0.5)],
    "arrow": [
        (0.0, 0.36), (0.52, 0.36), (0.52, 0.12), (1.0, 0.5), (0.52, 0.88), (0.52, 0.64), (0.0, 0.64),
    ],
}  # fmt: skip

#: Parts that are cut out of them.
_HOLES: dict[str, list[Point]] = {
    "ring": _moved(_DISC, 0, 0, 0.47),
    "crescent": _moved(_DISC, 0.24, -0.16, 0.84),
}


def _shape_mask(thing: Thing, side: int, inset: float = 0.0) -> Image.Image:
    """The turned shape in white on black, its unit square `side` pixels wide; `inset` thins it."""
    cosine, sine = (f(math.radians(thing.angle_degrees)) for f in (math.cos, math.sin))
    room = math.ceil(side * (abs(cosine) + abs(sine)))
    mask = Image.new("L", (room, room))

    def fill(points: list[Point], scale: float, value: int) -> None:
        turned = []
        for x, y in points:
            across, down = (x - 0.5) * scale * (-1 if thing.mirrored else 1), (y - 0.5) * scale
            turned.append(
                (room / 2 + side * (across * cosine + down * sine), room / 2 + side * (down * cosine - across * sine))
            )
        ImageDraw.Draw(mask).polygon(turned, fill=value)

    fill(_OUTLINES[thing.kind], 1 - 2.6 * inset, 255)
    if thing.kind in _HOLES:
        fill(_HOLES[thing.kind], 1 + 2 * inset, 0)
    return mask


def _shape(thing: Thing, side: int) -> Image.Image:
    """A coloured shape with transparent surroundings."""
    mask = _shape_mask(thing, side * _SMOOTHING)
    picture = Image.new("RGB", (mask.width // _SMOOTHING, mask.height // _SMOOTHING), thing.rgb)
    if thing.outlined:
        rim = 40 if sum(thing.rgb) > 200 else 225
        inner = _shape_mask(thing, side * _SMOOTHING, inset=0.04)
        picture.paste((rim, rim, rim), mask=ImageChops.subtract(mask, inner).resize(picture.size, _BOX))
    picture.putalpha(mask.resize(picture.size, _BOX))
    return picture


@lru_cache(maxsize=12)
def _sprite(kind: str) -> Image.Image:
    with Image.open(_SPRITES / f"{kind}.png") as file:
        picture: Image.Image = file.convert("RGBA")
    return picture


@lru_cache(maxsize=12)
def _cutout(look: Thing, side: int) -> Image.Image:
    """The thing at `side` pixels, mirrored and turned; `look` carries no position so that it can be cached."""
    if look.colour is not None:
        return _shape(look, side)
    picture = _sprite(look.kind)
    if look.mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = side / picture.width
    picture = picture.rotate(look.angle_degrees, Image.Resampling.BICUBIC, expand=True)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _draw_thing(canvas: Image.Image, thing: Thing) -> None:
    shorter = min(canvas.size)
    side = max(4, round(thing.size * shorter))
    cutout = _cutout(replace(thing, x=0, y=0, size=0), side)
    left = round(thing.x * canvas.width - cutout.width / 2)
    top = round(thing.y * canvas.height - cutout.height / 2)
    drop = max(1, side // 24)
    soft = cutout.getchannel("A").reduce(max(1, side // 24)).resize(cutout.size, Image.Resampling.BICUBIC)
    shadow = soft.point([value * _SHADOW_OPACITY // 255 for value in range(256)])
    canvas.paste((0, 0, 0), (left + drop, top + drop), shadow)
    canvas.paste(cutout, (left, top), cutout)


def _texture(background: Background, width: int, height: int) -> Image.Image:
    """Strength of the second colour at each pixel, 0 to 255."""
    rng = random.Random(background.seed)
    if background.style == "gradient":
        ramp = Image.linear_gradient("L").rotate(background.angle_degrees, Image.Resampling.BILINEAR)
        return ramp.crop((40, 40, 216, 216)).resize((width, height), Image.Resampling.BILINEAR)
    if background.style == "clouds":
        columns, rows = rng.randint(4, 14), rng.randint(3, 10)
        noise = Image.frombytes("L", (columns, rows), rng.randbytes(columns * rows))
        return noise.resize((width, height), Image.Resampling.BICUBIC)
    mask = Image.new("L", (width, height))
    if background.style == "horizon":
        ImageDraw.Draw(mask).rectangle([0, height * rng.uniform(0.45, 0.8), width, height], fill=255)
    else:
        _draw_pattern(mask, background.style, rng)
    return mask


def _draw_pattern(mask: Image.Image, style: str, rng: random.Random) -> None:
    """Faint stripes, checks or dots."""
    draw, (width, height) = ImageDraw.Draw(mask), mask.size
    faint = rng.randint(30, 90)
    step = min(width, height) * rng.uniform(0.05, 0.14)
    rows, columns = math.ceil(height / step), math.ceil(width / step)
    if style == "stripes":
        slant = rng.uniform(-0.8, 0.8) * height
        for column in range(-rows - columns, 2 * columns + rows, 2):
            x = column * step
            draw.polygon([(x, 0), (x + step, 0), (x + step + slant, height), (x + slant, height)], fill=faint)
        return
    for row in range(rows):
        for column in range(columns):
            if style == "checks" and (row + column) % 2 == 0:
                draw.rectangle([column * step, row * step, (column + 1) * step, (row + 1) * step], fill=faint)
            elif style == "dots":
                x, y = (column + 0.5 * (row % 2)) * step, row * step
                draw.ellipse([x - step / 7, y - step / 7, x + step / 7, y + step / 7], fill=faint)


@lru_cache(maxsize=4)
def _backdrop(background: Background, width: int, height: int) -> Image.Image:
    first = Image.new("RGB", (width, height), background.first)
    if background.style == "plain":
        return first
    first.paste(background.second, mask=_texture(background, width, height))
    return first


def render(scene: Scene, width: int, height: int) -> Image.Image:
    """The scene as an RGB picture of `width` x `height` pixels."""
    canvas = _backdrop(scene.background, width, height).copy()
    for thing in scene.things:
        _draw_thing(canvas, thing)
    return canvas
