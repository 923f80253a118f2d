"""How a training picture is taken: camera position, light, lens and background."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from itertools import pairwise

from training.render import TEXTURES
from vedette.scene.world import Scene

Matrix = tuple[float, ...]  # nine numbers, row by row


def inverse(m: Matrix) -> Matrix:
    """The inverse of a 3 x 3 matrix, scaled so that its last element is 1."""
    a, b, c, d, e, f, g, h, i = m
    adjugate = (
        e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f,
        d * h - e * g, b * g - a * h, a * e - b * d,
    )  # fmt: skip
    return tuple(value / adjugate[8] for value in adjugate)


def project(m: Matrix, x: float, y: float) -> tuple[float, float]:
    w = m[6] * x + m[7] * y + m[8]
    return (m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w


def extent(aspect: float) -> tuple[float, float]:
    """Width and height where the shorter side is 1."""
    return (aspect, 1.0) if aspect >= 1 else (1.0, 1 / aspect)


@dataclass(frozen=True)
class Camera:
    """The scene's position in the frame: `matrix` maps scene to frame, both in units of the shorter side."""

    matrix: Matrix
    scale: float

    @staticmethod
    def straight() -> Camera:
        return Camera((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), 1.0)

    @staticmethod
    def held(rng: random.Random, aspect: float, scale: float, lean: float) -> Camera:
        """A hand-held camera; `lean` bounds the rotation (radians), half of it the perspective."""
        width, height = extent(aspect)
        turn, shear = rng.uniform(-lean, lean), rng.uniform(-lean, lean) * 0.3
        room_x, room_y = (max(0.01, (1 - scale) / 2) * side for side in (width, height))
        kx, ky = (rng.uniform(-lean, lean) * 0.8 for _ in range(2))
        cos, sin = scale * math.cos(turn), scale * math.sin(turn)
        at_x, at_y = width / 2 + rng.uniform(-room_x, room_x), height / 2 + rng.uniform(-room_y, room_y)
        # The centre goes to (at_x, at_y); about it things are turned, sheared, scaled and leant away.
        cx, cy = width / 2, height / 2
        m = (cos + at_x * kx, shear * cos - sin + at_x * ky, sin + at_y * kx, cos + shear * sin + at_y * ky)
        w = 1 - kx * cx - ky * cy
        first = at_x - (m[0] * cx + m[1] * cy)
        second = at_y - (m[2] * cx + m[3] * cy)
        return Camera((m[0], m[1], first, m[2], m[3], second, kx, ky, w), scale)


def seen_through(scene: Scene, camera: Camera) -> Scene:
    """The scene with its things where they appear in the frame."""
    width, height = extent(scene.aspect)
    things = []
    for thing in scene.things:
        x, y = project(camera.matrix, thing.x * width, thing.y * height)
        things.append(replace(thing, x=x / width, y=y / height))
    return replace(scene, things=tuple(things))


def is_clear(scene: Scene, gap: float = 0.035) -> bool:
    """Whether the order from left to right is clear and every thing lies well inside the frame."""
    xs = sorted(thing.x for thing in scene.things)
    inside = all(0.04 < thing.x < 0.96 and 0.03 < thing.y < 0.97 for thing in scene.things)
    return inside and all(b - a > gap for a, b in pairwise(xs))


def random_camera(rng: random.Random, scene: Scene) -> tuple[Camera, Scene]:
    """A camera and what it shows: often straight on, sometimes a hand-held one filming a screen."""
    roll = rng.random()
    if roll > 0.42:
        for _ in range(3):
            if roll < 0.74:
                camera = Camera.held(rng, scene.aspect, rng.uniform(0.94, 1.03), 0.07)
            else:
                camera = Camera.held(rng, scene.aspect, rng.uniform(0.62, 0.96), 0.14)
            seen = seen_through(scene, camera)
            if is_clear(seen):
                return camera, seen
    return Camera.straight(), scene


def random_look(rng: random.Random) -> list[float]:
    """gain r, g, b, offset, contrast, vignette, noise, coarse noise, jpeg."""
    if rng.random() < 0.25:
        return [1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    light = rng.uniform(0.72, 1.15)
    cast = [min(1.16, max(0.84, rng.gauss(1, 0.06))) for _ in range(3)] if rng.random() < 0.6 else [1.0] * 3
    return [
        *(light * part for part in cast),
        rng.uniform(-0.05, 0.06),
        rng.uniform(0.7, 1.15),
        rng.uniform(0, 0.5) if rng.random() < 0.3 else 0.0,
        rng.uniform(0, 0.07) if rng.random() < 0.5 else 0.0,
        rng.uniform(0, 0.04) if rng.random() < 0.25 else 0.0,
        rng.uniform(0.01, 0.12) if rng.random() < 0.5 else 0.0,
    ]


def random_backdrop(rng: random.Random, scene: Scene) -> list[float]:
    """Two colours, texture number, its affine map, amplitude, ramp, surround colour and texture."""
    first, second = ([channel / 255 for channel in c] for c in (scene.background.first, scene.background.second))
    texture, amplitude, ramp = rng.randrange(TEXTURES), 0.0, [0.0, 0.0, 0.0]
    roll = rng.random()
    if roll > 0.4:
        smooth = texture % 8 in (0, 1, 2, 6)
        amplitude = rng.uniform(0.2, 1.0) if smooth else rng.uniform(0.08, 0.42)
    if 0.15 < roll < 0.55:
        turn, steep = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.0)
        ramp = [steep * math.cos(turn), steep * math.sin(turn), rng.uniform(-0.2, 0.6)]
    texels = rng.uniform(12, 60) if texture % 8 < 3 else rng.uniform(40, 130)
    turn = rng.uniform(0, 2 * math.pi)
    cos, sin = texels * math.cos(turn), texels * math.sin(turn)
    surround = [rng.random() ** 1.3 for _ in range(3)]
    if rng.random() < 0.7:
        grey = sum(surround) / 3
        surround = [grey + (part - grey) * 0.3 for part in surround]
    return [
        *first, *second, texture, cos, -sin, sin, cos, rng.uniform(0, 64), rng.uniform(0, 64), amplitude, *ramp,
        *surround, rng.randrange(TEXTURES),
    ]  # fmt: skip


@dataclass
class Shot:
    """The values that stay the same in all frames of a clip, or in one picture."""

    scene: Scene
    camera: Camera
    look: list[float]
    backdrop: list[float]
    blur: float
    shadow: float
    tint: list[float]

    @staticmethod
    def of(rng: random.Random, scene: Scene, camera: Camera) -> Shot:
        blur = rng.uniform(-0.6, 0.4) if rng.random() < 0.8 else rng.uniform(0.3, 1.3)
        shadow = rng.uniform(0.1, 0.45) if rng.random() < 0.6 else 0.0
        return Shot(
            scene,
            camera,
            random_look(rng),
            random_backdrop(rng, scene),
            blur,
            shadow,
            [rng.uniform(0.93, 1.05) for _ in range(3)],
        )
