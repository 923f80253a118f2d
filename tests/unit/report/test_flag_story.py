"""The story of each flag."""

import inspect
import re
from pathlib import Path

import click
import pytest

from tests.rig.plans import MODELS_ON_BOARDS, proposal_of
from vedette.deploy.planning import Proposal
from vedette.engine.vllm import flags
from vedette.errors import BadInputError
from vedette.language.columns import columns
from vedette.language.message import Language, Message, message_json, say
from vedette.report.command import split_arguments
from vedette.report.flag_story import (
    FlagStory,
    explain_flag,
    flag_story,
    memory_difference,
    numbered_reasons,
    reason_behind,
    story_json,
)
from vedette.report.flag_table import FLAGS, OWN_OPTIONS, find_flag
from vedette.report.paper import Paper
from vedette.units import GIB


def story_of(name: str, proposal: Proposal) -> FlagStory:
    return flag_story(name, proposal.plan, proposal.arguments, proposal.wish, proposal.replan)


@pytest.mark.parametrize(("model", "device"), MODELS_ON_BOARDS)
def test_every_flag_that_is_given_has_a_story_and_a_reason(model: str, device: str) -> None:
    proposal = proposal_of(model, device)
    _, given = split_arguments(proposal.arguments)
    reasons = numbered_reasons(proposal.plan, given)
    assert len(given) > 10
    assert [flag.name for flag in given if flag.name not in FLAGS] == []
    assert [flag.name for flag in given if reason_behind(flag.name, reasons) is None] == []


def test_every_flag_that_could_be_given_has_a_story() -> None:
    """Whatever literal option the engine's vocabulary holds."""
    ref = Path(inspect.getsourcefile(flags) or "").read_text(encoding="utf-8")
    literal = set(re.findall(r'"(--[a-z-]+)"', ref))
    assert len(literal) > 10
    assert literal - set(FLAGS) == set()


@pytest.mark.parametrize("written", ["max-model-len", "--max-model-len", "max_model_len", "MAX-MODEL-LEN "])
def test_a_flag_is_found_however_it_is_written(written: str) -> None:
    assert find_flag(written) == "--max-model-len"


def test_vedettes_own_options_name_the_flags_that_they_become() -> None:
    assert find_flag("context") == "--max-model-len"
    assert set(OWN_OPTIONS.values()) <= set(FLAGS)


def test_a_misspelt_flag_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInputError) as refusal:
        find_flag("gpu-memory-utilisation")
    assert "--gpu-memory-utilization" in refusal.value.hint
    with pytest.raises(BadInputError, match="vedette plan"):
        find_flag("")


def test_half_and_double_of_the_context_cost_what_the_plan_would_then_take() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "agx-orin-64gb")
    story = story_of("--max-model-len", proposal)
    document = story_json(story)
    now = proposal.plan.context.max_model_len
    half, double = document["neighbours"]
    assert (document["value"], half["value"], double["value"]) == (str(now), now // 2, now * 2)
    assert half["memory_difference_bytes"] < 0 < double["memory_difference_bytes"]
    text = click.unstyle(explain_flag(story, Paper(80)))
    assert f"--max-model-len {now}" in text
    assert "GiB less" in text
    assert "GiB more" in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_impossible_neighbour_has_a_reason_instead_of_a_size() -> None:
    proposal = proposal_of("Qwen2-7B-Instruct", "agx-orin-64gb", context=32_768)
    story = story_of("--max-model-len", proposal)
    double = story_json(story)["neighbours"][1]
    assert double["memory_difference_bytes"] is None
    assert "positions" in double["said"]
    assert double["message"] == message_json(story.neighbours[1].effect)


def test_a_flag_that_this_plan_does_not_set_can_be_explained() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    story = story_of("--enforce-eager", proposal)
    document = story_json(story)
    assert (document["given"], document["value"], document["neighbours"]) == (False, None, [])
    assert "this plan does not set it: many times faster than eager" in " ".join(explain_flag(story, Paper(80)).split())
    assert "runs W4A16" in story_json(story_of("--quantization", proposal))["why"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_flag_can_be_explained(language: Language) -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    for name in FLAGS:
        text = click.unstyle(explain_flag(story_of(name, proposal), Paper(80, language=language)))
        assert say(FLAGS[name].does, language).replace(" ", "")[:20] in "".join(text.split())
        assert max(map(columns, text.splitlines())) <= 80


def test_differences_of_memory_have_their_direction() -> None:
    assert memory_difference(3 * GIB) == Message("report.more_memory", size_bytes=3 * GIB)
    assert say(memory_difference(-GIB // 2)) == "0.50 GiB less"
    assert say(memory_difference(4 * 1024**2 - 1)) == "no more memory"
    assert say(memory_difference(4 * 1024**2)) == "4 MiB more"


def test_a_reason_is_shown_with_its_number_and_basis() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    story = story_of("--dtype", proposal)
    assert f"(reason {story.number} of `vedette plan`, computed)" in " ".join(explain_flag(story, Paper(80)).split())
    story = story_of("--port", proposal)
    assert f"(reason {story.number} of `vedette plan`)" in " ".join(explain_flag(story, Paper(80)).split())
