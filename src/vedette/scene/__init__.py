"""The world that vedette-tiny sees: what it holds, how it looks, and what is true of it. Needs only Pillow."""

from vedette.scene.draw import render
from vedette.scene.layout import Wish, random_scene
from vedette.scene.motion import moving_scene
from vedette.scene.world import COLOURS, KINDS, OBJECTS, SHAPES, Background, Scene, Thing

__all__ = [
    "COLOURS", "KINDS", "OBJECTS", "SHAPES", "Background", "Scene", "Thing", "Wish", "moving_scene", "random_scene",
    "render",
]  # fmt: skip
