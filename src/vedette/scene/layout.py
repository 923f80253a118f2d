"""Random scenes: objects, positions, sizes and their order from back to front."""

from __future__ import annotations

import colorsys
import math
import random
from dataclasses import dataclass

from vedette.scene.world import COLOURS, KINDS, OBJECTS, SHAPES, Background, Scene, Thing

BACKGROUND_STYLES = ("plain", "gradient", "clouds", "stripes", "checks", "dots", "horizon")

#: Smallest distance of two centres in x, as a share of the width: any closer, and their order is a guess.
_LEAST_GAP = 0.055

_COUNT_WEIGHTS = (4, 13, 17, 18, 18, 16, 14)


@dataclass(frozen=True)
class Bounds:
    """Bounds for `random_scene`; sizes are diameters as shares of the shorter side."""

    aspect: float = 4 / 3
    least_size: float = 0.16
    largest_size: float = 0.5
    #: Smallest distance of two things, in sums of their radii; below 1 they may overlap.
    least_distance: float = 1.0
    #: Smallest share of a radius that stays inside the frame.
    edge: float = 1.0


def jittered(rng: random.Random, rgb: tuple[int, int, int], by: float = 1.0) -> tuple[int, int, int]:
    """A shade near `rgb` that people still call by the same name."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))
    hue += rng.uniform(-0.014, 0.014) * by
    saturation *= 1 - rng.uniform(0, 0.16) * by
    value *= 1 - rng.uniform(-0.04, 0.12) * by
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(saturation, 1), min(value, 1))
    return round(red * 255), round(green * 255), round(blue * 255)


def colour_distance(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Weighted RGB distance (0 to about 765), close to the difference that people see."""
    mean_red = (one[0] + other[0]) / 2
    red, green, blue = (one[i] - other[i] for i in range(3))
    return math.sqrt((2 + mean_red / 256) * red * red + 4 * green * green + (2 + (255 - mean_red) / 256) * blue * blue)


def random_background(rng: random.Random) -> Background:
    """Two related colours, often soft ones, in one of the styles."""
    hue, saturation, value = rng.random(), rng.random() ** 2 * 0.8, rng.uniform(0.12, 1.0)
    other_hue = (hue + rng.uniform(-0.2, 0.2)) % 1
    other_value = min(1.0, max(0.08, value + rng.uniform(-0.3, 0.3)))
    first, second = (
        (round(red * 255), round(green * 255), round(blue * 255))
        for red, green, blue in (
            colorsys.hsv_to_rgb(hue, saturation, value),
            colorsys.hsv_to_rgb(other_hue, saturation * rng.uniform(0.5, 1), other_value),
        )
    )
    return Background(rng.choice(BACKGROUND_STYLES), first, second, rng.uniform(0, 360), rng.getrandbits(30))


def visible_colours(background: Background, least: float = 120.0) -> list[str]:
    """The colours that stand out against both background colours (never fewer than two)."""
    by_distance = sorted(
        COLOURS,
        key=lambda name: (
            -min(colour_distance(COLOURS[name], background.first), colour_distance(COLOURS[name], background.second))
        ),
    )
    fit = [
        name
        for name in by_distance
        if min(colour_distance(COLOURS[name], background.first), colour_distance(COLOURS[name], background.second))
        >= least
    ]
    return fit if len(fit) >= 2 else by_distance[:2]


def _positions(rng: random.Random, count: int, low: float, high: float) -> list[float]:
    """`count` sorted numbers in [low, high] that keep `_LEAST_GAP`."""
    room = (high - low) - _LEAST_GAP * (count - 1)
    starts = sorted(rng.random() * room for _ in range(count))
    return [low + start + index * _LEAST_GAP for index, start in enumerate(starts)]


def _place(rng: random.Random, count: int, bounds: Bounds) -> list[tuple[float, float, float]]:
    """(x, y, size) for `count` things that keep their distances; tries smaller sizes where they do not fit."""
    width, height = (bounds.aspect, 1.0) if bounds.aspect >= 1 else (1.0, 1 / bounds.aspect)
    largest = bounds.largest_size if count < 3 else min(bounds.largest_size, 0.62 - 0.05 * count)
    while True:
        for _ in range(4):
            placed: list[tuple[float, float, float]] = []
            margin = bounds.least_size / 2 * bounds.edge
            for x in _positions(rng, count, margin / width, 1 - margin / width):
                for _ in range(8):
                    size = bounds.least_size + (largest - bounds.least_size) * rng.random() ** 1.4
                    inset = size / 2 * bounds.edge
                    if not inset <= x * width <= width - inset:
                        size = bounds.least_size
                        inset = size / 2 * bounds.edge
                    y = rng.uniform(inset, height - inset) / height
                    if all(
                        math.hypot((x - ox) * width, (y - oy) * height)
                        >= bounds.least_distance * (size + other_size) / 2
                        for ox, oy, other_size in placed
                    ):
                        placed.append((x, y, size))
                        break
                else:
                    break
            else:
                return placed
        largest = max(bounds.least_size, largest * 0.8)


def random_kinds(rng: random.Random, count: int) -> list[str]:
    """Kinds for `count` things; sometimes several are the same, so that counting is not trivial."""
    kinds: list[str] = []
    alike = rng.random() < 0.35
    for _ in range(count):
        if kinds and alike and rng.random() < 0.6:
            kinds.append(rng.choice(kinds))
        else:
            kinds.append(rng.choice(SHAPES) if rng.random() < 0.45 else rng.choice(tuple(OBJECTS)))
    return kinds


def random_thing(rng: random.Random, kind: str, colours: list[str], place: tuple[float, float, float]) -> Thing:
    """A thing of `kind` at `place` = (x, y, size), in one of `colours` if it is a shape."""
    x, y, size = place
    if kind in OBJECTS:
        return Thing(kind, None, x, y, size, rng.gauss(0, 9), rng.random() < 0.5)
    colour = rng.choice(colours)
    shade = jittered(rng, COLOURS[colour])
    return Thing(kind, colour, x, y, size, rng.gauss(0, 9), rng.random() < 0.5, rng.random() < 0.35, shade)


def random_scene(rng: random.Random, bounds: Bounds | None = None, count: int | None = None) -> Scene:
    """A scene of `count` things (0 to 6; drawn at random when not given)."""
    bounds = bounds or Bounds()
    if count is None:
        count = rng.choices(range(7), _COUNT_WEIGHTS)[0]
    background = random_background(rng)
    colours = visible_colours(background)
    places = _place(rng, count, bounds) if count else []
    things = [
        random_thing(rng, kind, colours, place) for kind, place in zip(random_kinds(rng, count), places, strict=True)
    ]
    rng.shuffle(things)
    return Scene(tuple(things), background, bounds.aspect)


__all__ = ["BACKGROUND_STYLES", "KINDS", "Bounds", "random_background", "random_scene", "random_thing"]
