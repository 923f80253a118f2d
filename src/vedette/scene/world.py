"""The objects of a scene, their names, and the sentence that describes them."""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "crescent", "diamond", "arrow")

#: Colour name -> the RGB value that its jittered variants centre on.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (218, 36, 40),
    "orange": (245, 136, 24),
    "yellow": (250, 216, 36),
    "green": (44, 164, 70),
    "blue": (40, 92, 214),
    "purple": (134, 56, 182),
    "pink": (250, 138, 186),
    "brown": (122, 74, 40),
    "black": (24, 24, 28),
    "white": (246, 246, 246),
}

#: Pictured object -> the emoji that its sprite was taken from.
OBJECTS: dict[str, str] = {
    "airplane": "\u2708",
    "apple": "\U0001f34e",
    "ball": "\u26bd",
    "balloon": "\U0001f388",
    "banana": "\U0001f34c",
    "bell": "\U0001f514",
    "bicycle": "\U0001f6b2",
    "boat": "\u26f5",
    "book": "\U0001f4d5",
    "butterfly": "\U0001f98b",
    "cactus": "\U0001f335",
    "cake": "\U0001f382",
    "car": "\U0001f697",
    "carrot": "\U0001f955",
    "cat": "\U0001f431",
    "chair": "\U0001fa91",
    "clock": "\u23f0",
    "cup": "\u2615",
    "dog": "\U0001f436",
    "elephant": "\U0001f418",
    "fish": "\U0001f420",
    "frog": "\U0001f438",
    "guitar": "\U0001f3b8",
    "house": "\U0001f3e0",
    "key": "\U0001f511",
    "mushroom": "\U0001f344",
    "panda": "\U0001f43c",
    "penguin": "\U0001f427",
    "pizza": "\U0001f355",
    "robot": "\U0001f916",
    "rocket": "\U0001f680",
    "strawberry": "\U0001f353",
    "sunflower": "\U0001f33b",
    "tree": "\U0001f333",
    "turtle": "\U0001f422",
    "umbrella": "\u2602",
}

KINDS = (*SHAPES, *OBJECTS)

_PLURALS = {"fish": "fish", "butterfly": "butterflies", "strawberry": "strawberries"}


def plural(kind: str) -> str:
    """The plural of a kind's name: `cross` -> `crosses`."""
    if kind in _PLURALS:
        return _PLURALS[kind]
    return kind + ("es" if kind.endswith(("s", "sh", "x")) else "s")


def with_article(noun: str) -> str:
    """`red star` -> `a red star`, `orange star` -> `an orange star`."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def listed(parts: list[str]) -> str:
    """`[a, b, c]` -> `a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


@dataclass(frozen=True)
class Thing:
    """One shape or pictured object. `x`, `y` are shares of the frame's width and height;
    `size` is the diameter as a share of the frame's shorter side."""

    kind: str
    colour: str | None  # None for pictured objects
    x: float
    y: float
    size: float
    angle_degrees: float = 0.0
    mirrored: bool = False
    outlined: bool = False
    rgb: tuple[int, int, int] = (255, 255, 255)

    @property
    def name(self) -> str:
        """`red star` or `dog`."""
        return f"{self.colour} {self.kind}" if self.colour else self.kind


@dataclass(frozen=True)
class Background:
    """A two-colour backdrop: `style` is one of `layout.BACKGROUND_STYLES`; `seed` fixes its texture."""

    style: str
    first: tuple[int, int, int]
    second: tuple[int, int, int]
    angle_degrees: float
    seed: int


@dataclass(frozen=True)
class Scene:
    """Things on a background; the first thing lies at the back. `aspect` is width over height."""

    things: tuple[Thing, ...]
    background: Background
    aspect: float = 4 / 3

    @property
    def left_to_right(self) -> list[Thing]:
        return sorted(self.things, key=lambda thing: thing.x)

    def describe(self) -> str:
        """The exact sentence that vedette-tiny is trained to say of this scene."""
        names = [with_article(thing.name) for thing in self.left_to_right]
        if not names:
            return "The scene is empty."
        if len(names) == 1:
            return f"I see {names[0]}."
        return f"From left to right I see {listed(names)}."
