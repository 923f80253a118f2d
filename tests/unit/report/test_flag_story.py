"""The story of each flag."""

import inspect
import re
from pathlib import Path

import click
import pytest

from tests.rig.plans import MODELS_ON_BOARDS, proposal_of
from vedette.engine.vllm import flags
from vedette.errors import BadInputError
from vedette.report.bars import Paper
from vedette.report.explain import explain_flag
from vedette.report.flag_story import (
    OWN_OPTIONS,
    STORIES,
    find_flag,
    numbered_reasons,
    reason_behind,
    split_arguments,
    story_json,
)


@pytest.mark.parametrize(("model", "device"), MODELS_ON_BOARDS)
def test_every_flag_that_is_given_has_a_story_and_a_reason(model: str, device: str) -> None:
    proposal = proposal_of(model, device)
    _, given = split_arguments(proposal.arguments)
    reasons = numbered_reasons(proposal.plan, given)
    assert len(given) > 10
    assert [flag.name for flag in given if flag.name not in STORIES] == []
    assert [flag.name for flag in given if reason_behind(flag, reasons) is None] == []


def test_every_flag_that_could_be_given_has_a_story() -> None:
    """Whatever literal option the engine's vocabulary holds."""
    source = Path(inspect.getsourcefile(flags) or "").read_text(encoding="utf-8")
    literal = set(re.findall(r'"(--[a-z-]+)"', source))
    assert len(literal) > 10
    assert literal - set(STORIES) == set()


@pytest.mark.parametrize("written", ["max-model-len", "--max-model-len", "max_model_len", "MAX-MODEL-LEN "])
def test_a_flag_is_found_however_it_is_written(written: str) -> None:
    assert find_flag(written) == "--max-model-len"


def test_vedettes_own_options_name_the_flags_that_they_become() -> None:
    assert find_flag("context") == "--max-model-len"
    assert set(OWN_OPTIONS.values()) <= set(STORIES)


def test_a_misspelt_flag_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInputError) as refusal:
        find_flag("gpu-memory-utilisation")
    assert "--gpu-memory-utilization" in refusal.value.hint
    with pytest.raises(BadInputError, match="vedette plan"):
        find_flag("")


def test_half_and_double_of_the_context_cost_what_the_plan_would_then_take() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "agx-orin-64gb")
    story = story_json("--max-model-len", proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
    now = proposal.plan.context.max_model_len
    half, double = story["neighbours"]
    assert (story["value"], half["value"], double["value"]) == (str(now), now // 2, now * 2)
    assert half["memory_difference_bytes"] < 0 < double["memory_difference_bytes"]
    text = click.unstyle(explain_flag(story, Paper(80)))
    assert f"--max-model-len {now}" in text
    assert "GiB less" in text
    assert "GiB more" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_cannot_be_had_is_said_and_not_computed() -> None:
    proposal = proposal_of("Qwen2-7B-Instruct", "agx-orin-64gb", context=32_768)
    story = story_json("--max-model-len", proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
    double = story["neighbours"][1]
    assert double["memory_difference_bytes"] is None
    assert "positions" in double["said"]


def test_a_flag_that_this_plan_does_not_give_is_told_all_the_same() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    story = story_json("--enforce-eager", proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
    assert (story["given"], story["value"], story["neighbours"]) == (False, None, [])
    assert "this plan does not give it: many times faster than eager" in " ".join(
        explain_flag(story, Paper(80)).split()
    )
    story = story_json("--quantization", proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
    assert "runs natively W4A16" in story["why"]


def test_every_story_can_be_told() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    for name in STORIES:
        story = story_json(name, proposal.plan, proposal.arguments, proposal.wish, proposal.replan)
        text = click.unstyle(explain_flag(story, Paper(80)))
        assert STORIES[name].does.split()[0] in text
        assert max(map(len, text.splitlines())) <= 80
