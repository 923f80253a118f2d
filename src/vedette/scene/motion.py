"""A moving scene: the source of pictures where there is no camera."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from vedette.scene.layout import Bounds, random_scene
from vedette.scene.world import Scene, Thing

#: Duration of one scene, in seconds.
SCENE_S = 8.0
#: New things grow to their full size within this time, and are never too small to be recognised.
_GROWING_S = 0.5
_FIRST_SIZE = 0.8

_BOUNDS = Bounds(least_size=0.2, largest_size=0.42, least_distance=1.12)


def moving_scene(seed: int, t_seconds: float, aspect: float = 4 / 3) -> Scene:
    """The scene of `seed` at `t_seconds` after its start; the same arguments give the same scene.

    Things sway around their places, and every `SCENE_S` seconds a new scene begins.
    """
    number = int(t_seconds // SCENE_S)
    since = t_seconds - number * SCENE_S
    rng = random.Random(f"{seed} {number}")
    scene = random_scene(rng, replace(_BOUNDS, aspect=aspect), count=rng.choice((1, 2, 2, 3, 3, 3, 4, 4, 5)))
    grown = _FIRST_SIZE + (1 - _FIRST_SIZE) * math.sin(min(1.0, since / _GROWING_S) * math.pi / 2)
    pan = 0.02 * math.sin(2 * math.pi * since / SCENE_S + rng.uniform(0, 2 * math.pi))
    return replace(scene, things=tuple(_sway(thing, rng, since, pan, grown) for thing in scene.things))


def _sway(thing: Thing, rng: random.Random, since: float, pan: float, grown: float) -> Thing:
    """The thing slightly off its place, by too little to change the order from left to right."""
    phase, period = rng.uniform(0, 2 * math.pi), rng.uniform(3.0, 6.0)
    turn = 2 * math.pi * since / period + phase
    return replace(
        thing,
        x=thing.x + pan + 0.012 * math.sin(turn * 0.8),
        y=thing.y + 0.02 * math.sin(turn),
        angle_degrees=thing.angle_degrees + 5 * math.sin(turn * 0.6),
        size=thing.size * grown,
    )
