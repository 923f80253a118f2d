# ruff: noqa: S311
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from vedette.scene import COLOURS, KINDS, OBJECTS, Background, Bounds, Scene, Thing, moving_scene, random_scene, render
from vedette.scene.draw import _SPRITES
from vedette.scene.world import listed, plural, with_article

PLAIN = Background("plain", (200, 220, 240), (200, 220, 240), 0.0, 1)
DOG = Thing("dog", None, 0.7, 0.5, 0.3)
RED_STAR = Thing("star", "red", 0.2, 0.5, 0.3, rgb=COLOURS["red"])


def test_every_object_has_a_sprite_beside_its_licence() -> None:
    names = {path.stem for path in _SPRITES.glob("*.png")}
    assert names == set(OBJECTS)
    assert "SIL OPEN FONT LICENSE" in (_SPRITES / "OFL.txt").read_text()


def test_describe_names_things_from_left_to_right_in_any_drawing_order() -> None:
    scene = Scene((DOG, RED_STAR), PLAIN)
    assert scene.describe() == "From left to right I see a red star and a dog."
    assert replace(scene, things=(DOG,)).describe() == "I see a dog."
    assert replace(scene, things=()).describe() == "The scene is empty."


def test_articles_lists_and_plurals() -> None:
    assert with_article("orange star") == "an orange star"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert [plural(kind) for kind in ("cross", "fish", "butterfly")] == ["crosses", "fish", "butterflies"]


def test_the_same_seed_gives_the_same_scene() -> None:
    assert random_scene(Random(4)) == random_scene(Random(4))
    assert random_scene(Random(4)) != random_scene(Random(5))


@pytest.mark.parametrize("aspect", [16 / 9, 4 / 3, 1.0, 0.6])
def test_random_scenes_stay_within_their_bounds(aspect: float) -> None:
    rng = Random(aspect)
    counts = set()
    for _ in range(300):
        scene = random_scene(rng, Bounds(aspect=aspect))
        counts.add(len(scene.things))
        xs = [thing.x for thing in scene.left_to_right]
        assert all(right - left > 0.05 for left, right in pairwise(xs))
        assert all(0 < thing.x < 1 and 0 < thing.y < 1 for thing in scene.things)
        assert all((thing.colour is None) == (thing.kind in OBJECTS) for thing in scene.things)
    assert counts == set(range(7))


def test_a_scene_has_the_requested_number_of_things() -> None:
    assert len(random_scene(Random(1), count=6).things) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_is_drawn_at_its_position(kind: str) -> None:
    colour, rgb = (None, (255, 255, 255)) if kind in OBJECTS else ("red", COLOURS["red"])
    thing = Thing(kind, colour, 0.25, 0.5, 0.4, 10.0, True, True, rgb)
    empty, drawn = (render(Scene(things, PLAIN), 320, 240) for things in ((), (thing,)))
    differing = [
        (x, y) for x in range(0, 320, 2) for y in range(0, 240, 2) if empty.getpixel((x, y)) != drawn.getpixel((x, y))
    ]
    assert len(differing) > 100
    assert all(x < 160 for x, _ in differing)
    assert abs(sum(x for x, _ in differing) / len(differing) - 80) < 24


def test_a_thing_in_front_covers_what_is_behind() -> None:
    back = Thing("square", "red", 0.5, 0.5, 0.4, rgb=(220, 0, 0))
    front = Thing("circle", "blue", 0.5, 0.5, 0.2, rgb=(0, 0, 220))
    assert render(Scene((back, front), PLAIN), 320, 240).getpixel((160, 120)) == (0, 0, 220)


@pytest.mark.parametrize("style", ["plain", "gradient", "clouds", "stripes", "checks", "dots", "horizon"])
def test_only_a_plain_background_has_one_colour(style: str) -> None:
    background = Background(style, (10, 20, 30), (200, 180, 160), 30.0, 3)
    colours = render(Scene((), background), 160, 120).getcolors(160 * 120)
    assert colours is not None
    assert (len(colours) == 1) == (style == "plain")


def test_a_moving_scene_keeps_its_description_for_some_seconds_then_changes() -> None:
    scenes = [moving_scene(3, t / 10) for t in range(80)]
    assert len({scene.describe() for scene in scenes}) == 1
    assert len({scene.things for scene in scenes}) == 80
    assert len({moving_scene(3, 8.0 * turn).describe() for turn in range(6)}) > 1
    assert moving_scene(3, 4.2) == moving_scene(3, 4.2)


def test_moving_scenes_stay_in_the_frame() -> None:
    for turn in range(40):
        for scene in (moving_scene(9, turn * 8 + t) for t in (0, 1.5, 3, 5, 7.9)):
            assert all(0.02 < thing.x < 0.98 and 0.02 < thing.y < 0.98 for thing in scene.things)
