"""Accuracy of the served vedette-tiny: the training's exam on new scenes, asked of a running vedette.

Pictures of 320 x 240 to 1280 x 720 and clips go as JPEG data URLs; an answer counts only when it is exactly right.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from training.evaluate import ask, request_of
from training.exam import Case, is_right, jpeg, make_cases
from vedette.scene import moving_scene, render

#: Neither the exam after training nor the model card's exam uses this seed.
SEED = 2024
PER_SKILL = 20
#: Exact answers out of 20 by skill: 95 %, and 90 % where several pictures or turns go together.
LEAST_RIGHT = {
    "describe": 19,
    "describe, filmed off a screen": 19,
    "count": 19,
    "left, right, above, below": 19,
    "is there a": 19,
    "is there an unknown thing": 19,
    "colour": 19,
    "where": 19,
    "unrelated or empty words": 19,
    "with a system prompt": 19,
    "thinking": 19,
    "follow-up": 18,
    "two pictures": 18,
    "clip": 18,
    "no picture": 19,
}


@pytest.fixture(scope="module")
def exam() -> list[Case]:
    return make_cases(SEED, PER_SKILL)


def wrong_answers(cases: list[Case], engine_url: str, model_name: str) -> list[str]:
    """Questions with their wrong and expected answers. Thoughts count as wrong where thinking is off."""
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda case: ask(engine_url, request_of(case, model_name)), cases))
    return [
        f"{case.turns[-1][0]!r}: {answer!r}, not {case.answer!r}; thoughts {thoughts!r}, not {case.thoughts!r}"
        for case, (answer, thoughts) in zip(cases, replies, strict=True)
        if not is_right(case, answer, thoughts) or bool(thoughts) != bool(case.thoughts)
    ]


def test_every_skill_of_the_exam_has_a_required_score(exam: list[Case]) -> None:
    assert {case.skill for case in exam} == set(LEAST_RIGHT)


@pytest.mark.parametrize("skill", LEAST_RIGHT)
def test_new_scenes_are_answered_correctly(skill: str, exam: list[Case], engine_url: str, model_name: str) -> None:
    cases = [case for case in exam if case.skill == skill]
    assert len(cases) == PER_SKILL
    wrong = wrong_answers(cases, engine_url, model_name)
    assert PER_SKILL - len(wrong) >= LEAST_RIGHT[skill], "\n".join(wrong)


def test_the_moving_scene_is_described_correctly(engine_url: str, model_name: str) -> None:
    scenes = [moving_scene(17, 8 * turn + 1.5 * turn % 7) for turn in range(10)]
    cases = [
        Case("moving scene", (("Describe the scene.", scene.describe()),), (jpeg(render(scene, 640, 480)),))
        for scene in scenes
    ]
    wrong = wrong_answers(cases, engine_url, model_name)
    assert len(wrong) <= 1, "\n".join(wrong)


def test_without_a_picture_no_objects_are_invented(engine_url: str, model_name: str) -> None:
    for question, start in (
        ("Hello!", "Hello! Show me a picture"),
        ("What do you see?", "I see no picture."),
        ("", "I am vedette-tiny."),
        ("有长颈鹿吗？ 🦒", ""),
    ):
        answer, _ = ask(engine_url, request_of(Case("no picture", ((question, ""),)), model_name))
        assert answer
        assert answer.startswith(start)
