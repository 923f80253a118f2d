"""Follow-ups, two pictures, clips, and talk without a picture; `language.py` holds the questions on one picture."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training import phrases, words
from training.language import (
    ABOUT_ME,
    HELLO,
    NO_PICTURE,
    ONE_PICTURE_SKILLS,
    WELCOME,
    Exchange,
    Lexicon,
    beside_sentence,
    capital,
    chatter,
    colour_sentence,
    count_all,
    count_of,
    count_sentence,
    exists_name,
    exists_sentence,
    extreme_thing,
    pick,
    strange_noun,
    strange_plural,
    things_beside,
    thoughts,
)
from vedette.scene.world import KINDS, Scene, Thing, with_article


def _and_count(scene: Scene, rng: random.Random, lexicon: Lexicon) -> list[tuple[str, str]]:
    (one, first), (other, second) = (count_of(scene, rng, lexicon) for _ in range(2))
    again = rng.choice(("And {s}?", "And how many {s}?", "How about {s}?", "And the {s}?", "What about {s}?"))
    return [(rng.choice(phrases.COUNT_KIND).format(s=one), first), (again.format(s=other), second)]


def _and_exists(scene: Scene, rng: random.Random, lexicon: Lexicon) -> list[tuple[str, str]]:
    (one, first), (other, second) = (exists_name(scene, rng, lexicon) for _ in range(2))
    again = rng.choice(("And {a}?", "How about {a}?", "And is there {a}?", "What about {a}?", "Is there also {a}?"))
    return [
        (rng.choice(phrases.EXISTS).format(a=with_article(one)), exists_sentence(one, first)),
        (again.format(a=with_article(other)), exists_sentence(other, second)),
    ]


def _and_colour(scene: Scene, rng: random.Random, lexicon: Lexicon) -> list[tuple[str, str]] | None:
    alone = [t for t in scene.things if t.colour and sum(o.kind == t.kind for o in scene.things) == 1]
    if len(alone) < 2:
        return None
    one, other = rng.sample(alone, 2)
    again = rng.choice(("And the {x}?", "How about the {x}?", "What about the {x}?", "And what colour is the {x}?"))
    return [
        (rng.choice(phrases.COLOUR).format(x=one.kind), colour_sentence(scene, one, one.kind)),
        (again.format(x=other.kind), colour_sentence(scene, other, other.kind)),
    ]


def _about_it(scene: Scene, rng: random.Random, lexicon: Lexicon) -> list[tuple[str, str]] | None:
    """An answer that names one thing, then a question about "it"."""
    side = rng.choice(tuple(phrases.EXTREMES))
    thing = extreme_thing(scene, side) if scene.things else None
    if thing is None or sum(other.name == thing.name for other in scene.things) > 1:
        return None
    first = (rng.choice(phrases.EXTREMES[side]), capital(with_article(thing.name)) + ".")
    if rng.random() < 0.4 and thing.colour:
        asked = rng.choice(("What colour is it?", "What color is it?", "And its colour?", "Which colour is it?"))
        return [first, (asked, f"It is {thing.colour}.")]
    beside_it = rng.choice(tuple(phrases.SIDES))
    found = things_beside(scene, thing, beside_it)
    if found is None:
        return None
    return [
        first,
        (rng.choice(phrases.SIDES[beside_it]).replace("the {x}", "it"), beside_sentence(found, beside_it, "it")),
    ]


def _then_another(scene: Scene, rng: random.Random, lexicon: Lexicon) -> list[tuple[str, str]] | None:
    exchanges = [rng.choice(ONE_PICTURE_SKILLS)(scene, rng, lexicon) for _ in range(rng.choice((2, 2, 2, 3)))]
    if rng.random() < 0.08:
        exchanges[-1] = Exchange("thanks", ((rng.choice(words.THANKS), WELCOME),))
    return [turn for exchange in exchanges if exchange for turn in exchange.turns]


def follow_up(scene: Scene, rng: random.Random, lexicon: Lexicon) -> Exchange | None:
    make = rng.choice((_and_count, _and_exists, _and_colour, _about_it, _about_it, _then_another, _then_another))
    turns = make(scene, rng, lexicon)
    return Exchange("follow-up", tuple(turns)) if turns and len(turns) > 1 else None


@dataclass(frozen=True)
class Pair:
    """Two pictures; the second may hold one thing more (`new`) or less (`missing`). `related` says that they do."""

    first: Scene
    second: Scene
    new: Thing | None = None
    missing: Thing | None = None
    related: bool = True


def two_pictures(pair: Pair, rng: random.Random, lexicon: Lexicon) -> Exchange:
    roll = rng.random()
    thought = f"First picture:\n{thoughts(pair.first)}Second picture:\n{thoughts(pair.second)}"
    if pair.related and roll < 0.72:
        new, missing = (f"{capital(with_article(t.name))} is " if t else None for t in (pair.new, pair.missing))
        if roll < 0.4:
            question, answer = rng.choice(phrases.NEW), f"{new}new." if new else "Nothing is new."
        elif roll < 0.56:
            question, answer = rng.choice(phrases.GONE), f"{missing}gone." if missing else "Nothing is gone."
        else:
            question = rng.choice(phrases.CHANGED)
            answer = f"{new}new." if new else f"{missing}gone." if missing else "Nothing has changed."
    elif roll < 0.9:
        nth, scene = rng.choice((("first", pair.first), ("second", pair.second)))
        if rng.random() < 0.3:
            question = rng.choice(phrases.COUNT_NTH).format(n=nth)
            answer = count_sentence(len(scene.things), "object", "objects")
        else:
            question, answer = rng.choice(phrases.DESCRIBE_NTH).format(n=nth), scene.describe()
    else:
        question = rng.choice(phrases.DESCRIBE_BOTH)
        answer = f"First picture: {pair.first.describe()} Second picture: {pair.second.describe()}"
    return Exchange("two pictures", ((question, answer),), thought)


@dataclass(frozen=True)
class Clip:
    """A scene at its start, and what moves (None: nothing) which way (a key of phrases.WAYS)."""

    start: Scene
    mover: Thing | None = None
    way: str = "left"

    def motion(self) -> str:
        return f"The {self.mover.name} moves {phrases.WAYS[self.way]}." if self.mover else "Nothing moves."


def clip(moving: Clip, rng: random.Random, lexicon: Lexicon) -> Exchange:
    roll = rng.random()
    thought = thoughts(moving.start)
    picked = pick(moving.start, rng)
    if roll < 0.2 and picked:
        thing, reference = picked
        if moving.mover and rng.random() < 0.6:
            thing, reference = moving.mover, moving.mover.name
        motion = f"moves {phrases.WAYS[moving.way]}" if thing is moving.mover else "does not move"
        answer = f"The {reference} {motion}."
        return Exchange("clip", ((rng.choice(phrases.WHICH_WAY).format(x=reference), answer),), thought)
    if roll < 0.72:
        return Exchange("clip", ((rng.choice(phrases.MOVES), moving.motion()),), thought)
    if roll < 0.8:
        return Exchange("clip", count_all(moving.start, rng, lexicon).turns, thought)
    question = rng.choice(phrases.DESCRIBE_CLIP) if rng.random() < 0.8 else rng.choice(("", chatter(rng, lexicon)))
    return Exchange("clip", ((question, f"{moving.start.describe()} {moving.motion()}"),), thought)


def no_picture(rng: random.Random, lexicon: Lexicon) -> Exchange:
    roll = rng.random()
    if roll < 0.25:
        turn = rng.choice(words.GREETINGS), HELLO
    elif roll < 0.35:
        turn = "", ABOUT_ME
    elif roll < 0.5:
        turn = rng.choice(words.ABOUT), ABOUT_ME
    elif roll < 0.62:
        turn = chatter(rng, lexicon), NO_PICTURE
    else:
        asked = [
            q
            for bank in (phrases.DESCRIBE, phrases.COUNT_ALL, *phrases.EXTREMES.values(), phrases.NEW, phrases.MOVES)
            for q in bank
        ]
        question = rng.choice(
            rng.choice(
                (asked, phrases.COUNT_KIND, phrases.EXISTS, phrases.COLOUR, phrases.WHERE, *phrases.SIDES.values())
            )
        )
        noun = rng.choice((rng.choice(KINDS), strange_noun(rng, lexicon)))
        turn = question.format(s=strange_plural(noun), a=with_article(noun), x=noun), NO_PICTURE
    turns = [turn]
    if rng.random() < 0.15:
        turns.insert(0, (rng.choice(words.GREETINGS), HELLO))
    elif rng.random() < 0.05:
        turns.append((rng.choice(words.THANKS), WELCOME))
    return Exchange("no picture", tuple(turns), "No picture.\n")
