"""Tests that vedette-tiny's questions can be answered and its answers are true. Needs no torch."""

# ruff: noqa: S311

from __future__ import annotations

import io
import re
from collections import Counter
from random import Random

import pytest
from PIL import Image

from training import conversations, exam, language, phrases, words
from vedette.scene import COLOURS, KINDS, Background, Scene, Thing, random_scene
from vedette.scene.world import plural

PLAIN = Background("plain", (200, 220, 240), (200, 220, 240), 0.0, 1)
STAR = Thing("star", "red", 0.15, 0.3, 0.2)
DOG = Thing("dog", None, 0.5, 0.6, 0.2)
RING = Thing("ring", "blue", 0.85, 0.15, 0.2)
SCENE = Scene((RING, STAR, DOG), PLAIN)


def asked(skill: language.Skill, scene: Scene = SCENE, times: int = 400) -> list[tuple[str, str]]:
    """The last (question, answer) of each of many exchanges about the scene."""
    rng = Random(5)
    exchanges = (skill(scene, rng, language.HELD_OUT) for _ in range(times))
    return [exchange.turns[-1] for exchange in exchanges if exchange]


def test_counting_agrees_with_the_scene() -> None:
    rng = Random(1)
    for _ in range(200):
        scene = random_scene(rng)
        counts = Counter(plural(thing.kind) for thing in scene.things)
        counts["animals"] = sum(thing.kind in language.ANIMALS for thing in scene.things)
        counts["shapes"] = sum(thing.colour is not None for thing in scene.things)
        for question, answer in asked(language.count_kind, scene, 4):
            number = re.match(r"There (?:is|are) (no|\d) ", answer)
            nouns = re.search(r"(?:How many|the|of) ([a-z ]+?)(?: are| do| can|\?|\.)", question)
            assert number is not None
            assert nouns is not None
            assert int(number[1].replace("no", "0")) == counts[nouns[1]]


def test_a_side_lists_all_things_there_from_left_to_right() -> None:
    assert [t.kind for t in language.things_beside(SCENE, RING, "left of") or ()] == ["star", "dog"]
    assert [t.kind for t in language.things_beside(SCENE, DOG, "above") or ()] == ["star", "ring"]
    assert language.things_beside(SCENE, STAR, "left of") == []
    level = Scene((STAR, Thing("cat", None, 0.6, 0.33, 0.2)), PLAIN)
    assert language.things_beside(level, STAR, "above") is None


def test_every_skill_gives_true_answers() -> None:
    answers = {answer for skill in language.ONE_PICTURE_SKILLS for _, answer in asked(skill)}
    assert {
        "From left to right I see a red star, a dog and a blue ring.",
        "There are 3 objects.",
        "A red star and a dog.",
        "Nothing is left of the star.",
        "Yes, there is a red star.",
        "No, there is no giraffe.",
        "The ring is blue.",
        "The dog has several colours.",
        "The ring is at the top right.",
        "Yes, the star is left of the dog.",
        "No, the ring is right of the dog.",
    } <= answers
    for answer in answers:
        for colour in COLOURS:
            if f"I see a {colour}" in answer or f" is {colour}." in answer:
                assert colour in ("red", "blue")


def test_it_in_a_follow_up_means_the_thing_named_before() -> None:
    rng = Random(2)
    turns = [e.turns for _ in range(600) if (e := conversations.follow_up(SCENE, rng, language.TRAINING))]
    assert all(len(turn) > 1 for turn in turns)
    about_it = [turn for turn in turns if turn[-1][1].startswith("It is ")]
    assert about_it
    for first, second in about_it:
        assert first[1].removesuffix(".").split()[1] == second[1].removesuffix(".").split()[-1]


def test_answers_about_two_pictures_name_the_new_or_missing_thing() -> None:
    rng = Random(3)
    fewer = Scene((RING, STAR), PLAIN)
    answers: dict[tuple[str, Thing | None, Thing | None], set[str]] = {}
    for pair in (
        conversations.Pair(fewer, SCENE, new=DOG),
        conversations.Pair(SCENE, fewer, missing=DOG),
        conversations.Pair(SCENE, SCENE),
    ):
        for _ in range(200):
            question, answer = conversations.two_pictures(pair, rng, language.TRAINING).turns[0]
            answers.setdefault((question, pair.new, pair.missing), set()).add(answer)
    assert answers["What is new?", DOG, None] == {"A dog is new."}
    assert answers["What is gone?", None, DOG] == {"A dog is gone."}
    assert answers["What has changed?", None, None] == {"Nothing has changed."}
    assert answers["What is new?", None, DOG] == {"Nothing is new."}


def test_answers_about_a_clip_name_what_moves_and_in_which_direction() -> None:
    rng = Random(4)
    moving = conversations.Clip(SCENE, STAR, "up")
    answers = dict(conversations.clip(moving, rng, language.TRAINING).turns[0] for _ in range(500))
    assert answers["What moves?"] == "The red star moves up."
    assert answers["Which way does the dog move?"] == "The dog does not move."
    assert answers["Describe the video."] == SCENE.describe() + " The red star moves up."
    assert conversations.Clip(SCENE).motion() == "Nothing moves."


@pytest.mark.parametrize("bank", ["NOUNS", "CHATTER", "SYSTEM_PROMPTS"])
def test_the_exam_uses_words_that_training_does_not(bank: str) -> None:
    trained = set(getattr(words, "STRANGE_NOUNS" if bank == "NOUNS" else bank))
    assert not trained & set(getattr(words, f"HELD_OUT_{bank}"))


def test_no_unknown_noun_is_a_known_kind() -> None:
    known = {*KINDS, *(plural(kind) for kind in KINDS)}
    assert not known & {noun.replace("_", " ") for noun in (*words.STRANGE_NOUNS, *words.HELD_OUT_NOUNS)}


def test_hurried_typing_keeps_every_word() -> None:
    rng = Random(6)
    typed = {language.as_typed("What is left of the dog?", rng) for _ in range(300)}
    assert len(typed) > 5
    assert all("what is left of the dog" in text.lower() for text in typed)
    assert language.as_typed("", rng) == ""


def test_an_exam_is_repeatable_and_has_pictures_of_all_sizes() -> None:
    cases = exam.make_cases(1, 6)
    assert [case.turns for case in cases] == [case.turns for case in exam.make_cases(1, 6)]
    sizes = {Image.open(io.BytesIO(data)).size for case in cases for data in case.pictures}
    assert {(320, 240), (1280, 720)} <= sizes <= set(exam.SIZES)
    assert {len(case.frames) for case in cases if case.skill == "clip"} <= {4, 6, 8}
    assert len({case.skill for case in cases}) == 15


def test_only_exact_answers_count() -> None:
    case = exam.Case("describe", (("What do you see?", "I see a dog."),))
    thought = exam.Case("thinking", case.turns, thoughts="1. a dog\n")
    assert exam.is_right(case, "I see a dog.", "")
    assert not exam.is_right(case, "I see a cat.", "")
    assert not exam.is_right(thought, "I see a dog.", "1. a cat")
    table = exam.score_table([(case, "I see a dog.", ""), (case, "no", "")])
    assert "| describe | 1 of 2 (50.0%) |" in table


def test_every_question_has_a_placeholder_for_the_name() -> None:
    assert all("{x}" in question for bank in phrases.SIDES.values() for question in bank)
    assert all("{s}" in question for question in (*phrases.COUNT_KIND, *phrases.EXISTS_MANY))
    assert all("{a}" in question for question in phrases.EXISTS)
