"""Exam questions on scenes drawn with Pillow, with the one right answer to each.

Neither the renderer nor the seeds nor the open-ended words are those of training.
"""

from __future__ import annotations

import io
import math
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from PIL import Image, ImageEnhance, ImageFilter

from training import conversations, language, phrases
from training.language import HELD_OUT, Exchange
from vedette.scene.draw import render
from vedette.scene.layout import Bounds, random_scene, random_thing, visible_colours
from vedette.scene.world import KINDS, Scene, with_article

#: Width and height of the pictures sent.
SIZES = ((320, 240), (640, 480), (1280, 720), (800, 600), (480, 640), (512, 512), (960, 540), (640, 360))
FRAME_SIZES = ((320, 240), (640, 480), (640, 360))


@dataclass(frozen=True)
class Case:
    """One question: the request and the expected answer."""

    skill: str
    turns: tuple[tuple[str, str], ...]
    pictures: tuple[bytes, ...] = ()  # JPEG
    frames: tuple[bytes, ...] = ()  # JPEG
    system: str = ""
    thoughts: str = ""  # not empty: thinking is on

    @property
    def answer(self) -> str:
        return self.turns[-1][1]


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return data.getvalue()


def filmed(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture as a webcam sees it on a screen: askew, dim, tinted, blurred, noisy."""
    width, height = picture.size
    room = Image.new("RGB", picture.size, tuple(rng.randint(20, 120) for _ in range(3)))
    shrink = rng.uniform(0.03, 0.12)
    corners = [
        side * (at + (1 - 2 * at) * shrink * rng.uniform(0.6, 1.2))
        for corner in ((0, 0), (0, 1), (1, 1), (1, 0))
        for side, at in zip(picture.size, corner, strict=True)
    ]
    screen = Image.new("RGBA", picture.size)
    turned = picture.convert("RGBA").transform(
        picture.size, Image.Transform.PERSPECTIVE, _perspective(corners, width, height), Image.Resampling.BICUBIC
    )
    screen.alpha_composite(turned)
    room.paste(screen, mask=screen.getchannel("A"))
    room = ImageEnhance.Brightness(room).enhance(rng.uniform(0.75, 1.1))
    room = ImageEnhance.Contrast(room).enhance(rng.uniform(0.8, 1.1))
    gains = [rng.uniform(0.93, 1.07) for _ in range(3)]
    scales = [[min(255, int(value * gain)) for value in range(256)] for gain in gains]
    tint = Image.merge("RGB", [band.point(scale) for band, scale in zip(room.split(), scales, strict=True)])
    tint = tint.filter(ImageFilter.GaussianBlur(min(width, height) / 480 * rng.uniform(0.3, 1.2)))
    return Image.blend(tint, Image.effect_noise(tint.size, 60).convert("RGB"), rng.uniform(0.01, 0.06))


def _perspective(corners: list[float], width: int, height: int) -> list[float]:
    """Coefficients that take the frame's corners back to the picture's (Gaussian elimination of 8 equations)."""
    rows = []
    for (x, y), (u, v) in zip(
        zip(corners[::2], corners[1::2], strict=True), ((0, 0), (0, height), (width, height), (width, 0)), strict=True
    ):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, v])
    for i in range(8):
        pivot = max(range(i, 8), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for r in range(8):
            if r != i:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[8] for row in rows]


def _scene(rng: random.Random, size: tuple[int, int], count: int | None = None) -> Scene:
    distance = rng.choice((1.0, 1.0, 0.82))
    return random_scene(rng, Bounds(aspect=size[0] / size[1], least_distance=distance), count)


Ask = Callable[[Scene, random.Random, language.Lexicon], Exchange | None]


def _about_one(
    skill: str, ask: Ask, rng: random.Random, think: bool = False, system: str = "", film: bool = False
) -> Case:
    while True:
        size = rng.choice(SIZES)
        scene = _scene(rng, size)
        exchange = ask(scene, rng, HELD_OUT)
        if exchange is None:
            continue
        picture = render(scene, *size)
        data = jpeg(filmed(picture, rng) if film else picture, rng.choice((60, 75, 85, 92)))
        return Case(skill, exchange.turns, (data,), (), system, language.thoughts(scene) if think else "")


def _any_skill(scene: Scene, rng: random.Random, lexicon: language.Lexicon) -> Exchange | None:
    return rng.choice(language.ONE_PICTURE_SKILLS)(scene, rng, lexicon)


def _plain_describe(scene: Scene, rng: random.Random, lexicon: language.Lexicon) -> Exchange:
    return Exchange("describe", ((rng.choice(phrases.DESCRIBE), scene.describe()),))


def _unrelated(scene: Scene, rng: random.Random, lexicon: language.Lexicon) -> Exchange:
    return Exchange(
        "describe",
        ((rng.choice(("", language.chatter(rng, lexicon), language.chatter(rng, lexicon))), scene.describe()),),
    )


def _strange(scene: Scene, rng: random.Random, lexicon: language.Lexicon) -> Exchange:
    noun = language.strange_noun(rng, lexicon)
    question = rng.choice(phrases.EXISTS).format(a=with_article(noun))
    return Exchange("exists", ((question, f"No, there is no {noun}."),))


def _two_pictures(rng: random.Random) -> Case:
    size = rng.choice(SIZES)
    first = _scene(rng, size, rng.randint(0, 5))
    new = missing = None
    things = list(first.things)
    roll = rng.random()
    if roll < 0.5:
        for _ in range(50):
            place = rng.uniform(0.12, 0.88), rng.uniform(0.14, 0.86), rng.uniform(0.18, 0.3)
            thing = random_thing(rng, rng.choice(KINDS), visible_colours(first.background), place)
            if thing.name not in {t.name for t in things} and all(
                abs(t.x - thing.x) > 0.055
                and math.hypot((t.x - thing.x) * max(first.aspect, 1), (t.y - thing.y) * max(1 / first.aspect, 1))
                > (t.size + thing.size) / 2
                for t in things
            ):
                new = thing
                things.append(thing)
                break
    elif roll < 0.75 and things:
        missing = rng.choice(things)
        if [t.name for t in things].count(missing.name) > 1:
            missing = None
        else:
            things.remove(missing)
    second = replace(first, things=tuple(things))
    pair = conversations.Pair(first, second, new, missing)
    pictures = tuple(jpeg(render(scene, *size)) for scene in (first, second))
    return Case("two pictures", conversations.two_pictures(pair, rng, HELD_OUT).turns, pictures)


def _clip(rng: random.Random) -> Case:
    size = rng.choice(FRAME_SIZES)
    while True:
        scene = random_scene(rng, Bounds(aspect=size[0] / size[1], least_size=0.2), rng.randint(1, 4))
        things = list(scene.things)
        if len({thing.name for thing in things}) == len(things):
            break
    number, way, far = rng.randrange(len(things)), rng.choice(tuple(phrases.WAYS)), rng.uniform(0.3, 0.55)
    start = rng.uniform(0.12, 0.88 - far)
    low, high = (start, start + far) if way in ("right", "down") else (start + far, start)
    axis = "x" if way in ("left", "right") else "y"
    still = rng.random() < 0.2
    count = rng.choice((4, 6, 8, 8))
    frames = []
    for step in range(count):
        at = low if still else low + (high - low) * step / (count - 1)
        things[number] = replace(things[number], x=at) if axis == "x" else replace(things[number], y=at)
        frames.append(replace(scene, things=tuple(things)))
    xs = sorted(thing.x for thing in frames[0].things)
    if any(b - a < 0.06 for a, b in pairwise(xs)):
        return _clip(rng)
    moving = conversations.Clip(frames[0], None if still else frames[0].things[number], way)
    turns = conversations.clip(moving, rng, HELD_OUT).turns
    return Case("clip", turns, (), tuple(jpeg(render(frame, *size)) for frame in frames))


def make_cases(seed: int, per_skill: int) -> list[Case]:
    """`per_skill` cases of every skill."""
    rng = random.Random(f"exam {seed}")

    def system() -> str:
        return rng.choice(HELD_OUT.system_prompts)

    makers: dict[str, Callable[[], Case]] = {
        "describe": lambda: _about_one("describe", _plain_describe, rng),
        "describe, filmed off a screen": lambda: _about_one(
            "describe, filmed off a screen", _plain_describe, rng, film=True
        ),
        "count": lambda: _about_one("count", rng.choice((language.count_all, language.count_kind)), rng),
        "left, right, above, below": lambda: _about_one(
            "left, right, above, below",
            rng.choice((language.beside, language.beside, language.extreme, language.relation)),
            rng,
        ),
        "is there a": lambda: _about_one("is there a", language.exists, rng),
        "is there an unknown thing": lambda: _about_one("is there an unknown thing", _strange, rng),
        "colour": lambda: _about_one("colour", language.colour, rng),
        "where": lambda: _about_one("where", language.where, rng),
        "unrelated or empty words": lambda: _about_one("unrelated or empty words", _unrelated, rng),
        "with a system prompt": lambda: _about_one("with a system prompt", _any_skill, rng, system=system()),
        "thinking": lambda: _about_one("thinking", _any_skill, rng, think=True),
        "follow-up": lambda: _about_one("follow-up", conversations.follow_up, rng),
        "two pictures": lambda: _two_pictures(rng),
        "clip": lambda: _clip(rng),
        "no picture": lambda: Case("no picture", conversations.no_picture(rng, HELD_OUT).turns),
    }
    return [make() for make in makers.values() for _ in range(per_skill)]


def score_table(results: list[tuple[Case, str, str]]) -> str:
    """Markdown: exact answers by skill. Results are (case, answer, thoughts)."""
    right: dict[str, list[bool]] = defaultdict(list)
    for case, answer, thoughts in results:
        right[case.skill].append(is_right(case, answer, thoughts))
    lines = ["| skill | exact answers |", "|---|---|"]
    lines += [
        f"| {skill} | {sum(marks)} of {len(marks)} ({sum(marks) / len(marks):.1%}) |" for skill, marks in right.items()
    ]
    total = [mark for marks in right.values() for mark in marks]
    return "\n".join([*lines, f"| all | {sum(total)} of {len(total)} ({sum(total) / len(total):.1%}) |"])


def is_right(case: Case, answer: str, thoughts: str) -> bool:
    return answer.strip() == case.answer and (not case.thoughts or thoughts.strip() == case.thoughts.strip())
