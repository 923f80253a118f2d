"""The questions people ask vedette-tiny and its answers: the whole language of training.

A skill is a function that turns a scene (or two, or a clip, or nothing) into an `Exchange`, or into None when
the scene gives no clear answer: then no question is asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from training import phrases, words
from vedette.scene.world import COLOURS, KINDS, OBJECTS, SHAPES, Scene, Thing, listed, plural, with_article

HELLO = "Hello! Show me a picture and I will tell you what I see."
ABOUT_ME = "I am vedette-tiny. I can name, count and place shapes and everyday objects in pictures."
NO_PICTURE = "I see no picture. Send me one and I will tell you what is in it."
WELCOME = "You are welcome."
EMPTY = "The scene is empty."

#: Least distance of two heights (as a share of the frame's height) for "above" and "below" to be asked.
CLEAR_HEIGHT = 0.09


@dataclass(frozen=True)
class Exchange:
    """A conversation about the same pictures: questions and answers in turn, and the thoughts for the last."""

    skill: str
    turns: tuple[tuple[str, str], ...]
    thoughts: str = ""


@dataclass(frozen=True)
class Lexicon:
    """The open-ended words to draw on; the exam uses held-out ones."""

    nouns: tuple[str, ...] = tuple(words.STRANGE_NOUNS)
    chatter: tuple[str, ...] = tuple(words.CHATTER)
    system_prompts: tuple[str, ...] = tuple(words.SYSTEM_PROMPTS)
    invent: bool = True  # also make up new words


TRAINING = Lexicon()
HELD_OUT = Lexicon(
    tuple(words.HELD_OUT_NOUNS), tuple(words.HELD_OUT_CHATTER), tuple(words.HELD_OUT_SYSTEM_PROMPTS), False
)

ANIMALS = frozenset(("butterfly", "cat", "dog", "elephant", "fish", "frog", "panda", "penguin", "turtle"))


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def count_sentence(count: int, noun: str, nouns: str) -> str:
    """`There is 1 star.`, `There are 2 stars.`, `There are no stars.`"""
    if count == 1:
        return f"There is 1 {noun}."
    return f"There are {count or 'no'} {nouns}."


def strange_noun(rng: random.Random, lexicon: Lexicon) -> str:
    """A word for something the model does not know."""
    roll = rng.random()
    if not lexicon.invent or roll < 0.4:
        return rng.choice(lexicon.nouns).replace("_", " ")
    if roll < 0.68:  # parts of words people know: "pineapple" is none of the list
        one, other = (rng.choice(lexicon.nouns) for _ in range(2))
        return one[: rng.randint(2, 6)].rstrip("_") + other[-rng.randint(2, 6) :].lstrip("_")
    if roll < 0.76:
        return f"{rng.choice(lexicon.nouns)} {rng.choice(lexicon.nouns)}".replace("_", " ")
    if roll < 0.92:
        pieces = (rng.choice("bcdfghjklmnprstvwyz") + rng.choice("aeiou") + rng.choice(("", "", *"nrstlmxyc")) for _ in
                  range(rng.randint(1, 4)))  # fmt: skip
        return "".join(pieces) + rng.choice(("", "", "er", "le", "ck", "th", "by", "ing", "ple", "ope", "cle"))
    if roll < 0.96:
        return "".join(chr(rng.randint(0x4E00, 0x9FA0)) for _ in range(rng.randint(1, 3)))
    return "".join(rng.choice("abcdefghijklmnoprstuvzäöüéèñçßøåоеатин") for _ in range(rng.randint(3, 7)))


def chatter(rng: random.Random, lexicon: Lexicon) -> str:
    """A text that is not a question about a picture."""
    if not lexicon.invent or rng.random() < 0.35:
        return rng.choice(lexicon.chatter)
    if rng.random() < 0.15:
        return " ".join(strange_noun(rng, lexicon) for _ in range(rng.randint(1, 12)))
    sentences = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        form = rng.choice(words.CHATTER_FORMS)
        noun, other = strange_noun(rng, lexicon), strange_noun(rng, lexicon)
        sentences.append(form.format(n=noun, o=other, j=rng.choice(words.QUALITIES), v=rng.choice(words.DOINGS)))
    return " ".join(sentences)


def strange_plural(noun: str) -> str:
    """An unknown plural noun as a person would type it."""
    if not noun.isascii():
        return noun
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x", "z")) else "s")


def _reference(scene: Scene, thing: Thing, rng: random.Random) -> str | None:
    """`star` or `red star`, whichever is unique in the scene; None if neither is."""
    if sum(other.kind == thing.kind for other in scene.things) == 1:
        return rng.choice((thing.kind, thing.name)) if thing.colour else thing.kind
    if thing.colour and sum(other.name == thing.name for other in scene.things) == 1:
        return thing.name
    return None


def pick(scene: Scene, rng: random.Random) -> tuple[Thing, str] | None:
    """A thing of the scene with a name that means it alone."""
    if not scene.things:
        return None
    thing = rng.choice(scene.things)
    reference = _reference(scene, thing, rng)
    return (thing, reference) if reference else None


def _missing_name(scene: Scene, rng: random.Random, lexicon: Lexicon, strange: float = 0.4) -> str:
    """The name of something that is not in the scene: unknown to the model, or known."""
    if rng.random() < strange:
        noun = strange_noun(rng, lexicon)
        return f"{rng.choice(tuple(COLOURS))} {noun}" if rng.random() < 0.15 else noun
    present = {thing.kind for thing in scene.things}
    kind = rng.choice(KINDS)
    while kind in present:
        kind = rng.choice(KINDS)
    return kind if kind in OBJECTS or rng.random() < 0.5 else f"{rng.choice(tuple(COLOURS))} {kind}"


def thoughts(scene: Scene) -> str:
    """The numbered list that the model thinks before it answers."""
    things = scene.left_to_right
    if not things:
        return "Nothing.\n"
    return "".join(f"{i}. {with_article(thing.name)}\n" for i, thing in enumerate(things, 1))


# --- one picture -----------------------------------------------------------------------------------------


def describe(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange:
    roll = rng.random()
    if roll < 0.66:
        question = rng.choice(phrases.DESCRIBE)
    elif roll < 0.72:
        question = ""
    elif roll < 0.76:
        question = rng.choice(words.GREETINGS)
    else:
        question = chatter(rng, lexicon)
    return Exchange("describe", ((question, scene.describe()),))


def count_all(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange:
    return Exchange("count", ((rng.choice(phrases.COUNT_ALL), count_sentence(len(scene.things), "object", "objects")),))


def count_of(scene: Scene, rng: random.Random, lexicon: Lexicon) -> tuple[str, str]:
    """(plural, answer) for a kind that is there, or not, or unknown."""
    if rng.random() < 0.12:
        noun, members = rng.choice((("animal", ANIMALS), ("shape", SHAPES)))
        count = sum(thing.kind in members for thing in scene.things)
        return f"{noun}s", count_sentence(count, noun, f"{noun}s")
    if scene.things and rng.random() < 0.7:
        counts = Counter(thing.kind for thing in scene.things)
        kind, count = rng.choice([*counts.items(), *((k, n) for k, n in counts.items() if n > 1)])
        return plural(kind), count_sentence(count, kind, plural(kind))
    if rng.random() < 0.35:
        nouns = strange_plural(strange_noun(rng, lexicon))
    else:
        nouns = plural(_missing_name(scene, rng, lexicon, 0).split()[-1])
    return nouns, f"There are no {nouns}."


def count_kind(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange:
    nouns, answer = count_of(scene, rng, lexicon)
    return Exchange("count kind", ((rng.choice(phrases.COUNT_KIND).format(s=nouns), answer),))


def things_beside(scene: Scene, thing: Thing, side: str) -> list[Thing] | None:
    """The things on that side, left to right; None where the side is not clear."""
    if side in ("left of", "right of"):
        return [o for o in scene.left_to_right if (o.x < thing.x if side == "left of" else o.x > thing.x)]
    others = [other for other in scene.left_to_right if other is not thing]
    if any(abs(other.y - thing.y) < CLEAR_HEIGHT for other in others):
        return None
    return [o for o in others if (o.y < thing.y if side == "above" else o.y > thing.y)]


def beside_sentence(found: list[Thing], side: str, reference: str) -> str:
    if not found:
        return f"Nothing is {side} {reference}."
    return capital(listed([with_article(thing.name) for thing in found])) + "."


def beside(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange | None:
    side = rng.choice(tuple(phrases.SIDES))
    question = rng.choice(phrases.SIDES[side])
    if rng.random() < 0.08:
        name = _missing_name(scene, rng, lexicon)
        return Exchange("beside", ((question.format(x=name), f"There is no {name}."),))
    picked = pick(scene, rng)
    if picked is None:
        return None
    found = things_beside(scene, picked[0], side)
    if found is None:
        return None
    return Exchange("beside", ((question.format(x=picked[1]), beside_sentence(found, side, f"the {picked[1]}")),))


def relation(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange | None:
    one, other = (pick(scene, rng) for _ in range(2))
    if one is None or other is None or one[0] is other[0]:
        return None
    first, second = rng.choice((("left of", "right of"), ("above", "below")))
    across = first == "left of"
    apart = one[0].x - other[0].x if across else one[0].y - other[0].y
    if not across and abs(apart) < CLEAR_HEIGHT:
        return None
    truth = first if apart < 0 else second
    asked = rng.choice((first, second))
    said = asked if asked in ("above", "below") else rng.choice((asked, f"to the {asked}", f"on the {asked}"))
    question = rng.choice(phrases.RELATION).format(x=one[1], y=other[1], side=said)
    yes_no = "Yes" if truth == asked else "No"
    return Exchange("relation", ((question, f"{yes_no}, the {one[1]} is {truth} the {other[1]}."),))


def extreme_thing(scene: Scene, side: str) -> Thing | None:
    if side in ("left", "right"):
        return scene.left_to_right[0 if side == "left" else -1]
    by_height = sorted(scene.things, key=lambda thing: thing.y, reverse=side == "bottom")
    if len(by_height) > 1 and abs(by_height[0].y - by_height[1].y) < CLEAR_HEIGHT:
        return None
    return by_height[0]


def extreme(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange | None:
    side = rng.choice(tuple(phrases.EXTREMES))
    question = rng.choice(phrases.EXTREMES[side])
    if not scene.things:
        return Exchange("extreme", ((question, EMPTY),))
    thing = extreme_thing(scene, side)
    return Exchange("extreme", ((question, capital(with_article(thing.name)) + "."),)) if thing else None


def exists_name(scene: Scene, rng: random.Random, lexicon: Lexicon) -> tuple[str, bool]:
    if scene.things and rng.random() < 0.45:
        thing = rng.choice(scene.things)
        return rng.choice((thing.kind, thing.name)), True
    if scene.things and rng.random() < 0.15:  # the right kind in the wrong colour
        thing = rng.choice(scene.things)
        name = f"{rng.choice(tuple(COLOURS))} {thing.kind}"
        if thing.colour and name not in {other.name for other in scene.things}:
            return name, False
    return _missing_name(scene, rng, lexicon), False


def exists_sentence(name: str, there: bool) -> str:
    return f"Yes, there is {with_article(name)}." if there else f"No, there is no {name}."


def exists(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange:
    if rng.random() < 0.2:
        nouns, answer = count_of(scene, rng, lexicon)
        answer = ("No, t" if answer.startswith("There are no") else "Yes, t") + answer[1:]
        return Exchange("exists", ((rng.choice(phrases.EXISTS_MANY).format(s=nouns), answer),))
    name, there = exists_name(scene, rng, lexicon)
    return Exchange(
        "exists", ((rng.choice(phrases.EXISTS).format(a=with_article(name)), exists_sentence(name, there)),)
    )


def colour_sentence(scene: Scene, thing: Thing, reference: str) -> str:
    return f"The {reference} is {thing.colour}." if thing.colour else f"The {reference} has several colours."


def colour(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange | None:
    question = rng.choice(phrases.COLOUR)
    if rng.random() < 0.12:
        name = _missing_name(scene, rng, lexicon).split()[-1]
        return Exchange("colour", ((question.format(x=name), f"There is no {name}."),))
    shapes = [t for t in scene.things if t.colour or rng.random() < 0.12]
    alone = [t for t in shapes if sum(o.kind == t.kind for o in scene.things) == 1]
    if not alone:
        return None
    thing = rng.choice(alone)
    return Exchange("colour", ((question.format(x=thing.kind), colour_sentence(scene, thing, thing.kind)),))


def _place(thing: Thing) -> str | None:
    cells = [
        next((i for i, (low, high) in enumerate(((-1, 0.29), (0.38, 0.62), (0.71, 2))) if low <= at <= high), None)
        for at in (thing.x, thing.y)
    ]
    if None in cells:
        return None
    return (
        ("at the top left", "at the top", "at the top right"),
        ("on the left", "in the middle", "on the right"),
        ("at the bottom left", "at the bottom", "at the bottom right"),
    )[cells[1] or 0][cells[0] or 0]


def where(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange | None:
    question = rng.choice(phrases.WHERE)
    if rng.random() < 0.12:
        name = _missing_name(scene, rng, lexicon)
        return Exchange("where", ((question.format(x=name), f"There is no {name}."),))
    picked = pick(scene, rng)
    place = picked and _place(picked[0])
    if not picked or not place:
        return None
    return Exchange("where", ((question.format(x=picked[1]), f"The {picked[1]} is {place}."),))


def as_typed(question: str, rng: random.Random) -> str:
    """The question as a hurried person types it, sometimes."""
    roll = rng.random()
    if roll < 0.66 or not question:
        return question
    if roll < 0.72:
        before, after = rng.choice(words.AROUND)
        return f"{before} {question} {after}".strip()
    if roll < 0.82:
        return question.rstrip("?.!")
    if roll < 0.92:
        return question.lower()
    return question.lower().rstrip("?.!")


Skill = Callable[[Scene, random.Random, Lexicon], "Exchange | None"]
ONE_PICTURE_SKILLS: tuple[Skill, ...] = (
    describe, describe, describe, count_all, count_all, count_kind, beside, beside, beside, extreme, exists, exists,
    exists, colour, colour, where, relation,
)  # fmt: skip
