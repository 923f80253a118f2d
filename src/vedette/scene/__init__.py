"""The drawn world that vedette-tiny was trained on: its objects, its pictures, and their true descriptions."""

from vedette.scene.draw import render
from vedette.scene.layout import Bounds, random_scene
from vedette.scene.motion import moving_scene
from vedette.scene.world import COLOURS, KINDS, OBJECTS, SHAPES, Background, Scene, Thing

__all__ = [
    "COLOURS",
    "KINDS",
    "OBJECTS",
    "SHAPES",
    "Background",
    "Bounds",
    "Scene",
    "Thing",
    "moving_scene",
    "random_scene",
    "render",
]  # fmt: skip
