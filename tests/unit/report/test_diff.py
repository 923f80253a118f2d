"""Two plans side by side."""

import json

import click
import pytest

from tests.rig.plans import proposal_of
from vedette.errors import BadInputError
from vedette.report.diff import Difference, diff_json, differences, explain_diff, parse_plan
from vedette.report.paper import Paper
from vedette.units import GIB, MIB

SMALL = proposal_of("vedette-tiny", "orin-nx-8gb", context=1024).as_json()
LARGE = proposal_of("vedette-tiny", "orin-nx-16gb", context=4096).as_json()


def test_only_what_differs_is_found_with_how_much() -> None:
    found = {each.name: each for each in differences(SMALL, LARGE)}
    assert found["context.max_model_len"].difference == 3072
    kv = "memory.kv_cache_bytes"
    assert found[kv].difference == LARGE["memory"]["kv_cache_bytes"] - SMALL["memory"]["kv_cache_bytes"] > 0
    assert (found["--max-model-len"].a, found["--max-model-len"].b) == ("1024", "4096")
    assert found["device"].difference is None
    assert "memory.cuda_graph_bytes" not in found
    assert "model" not in found
    assert "--dtype" not in found


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        (0, 2 * GIB, "+2.00 GiB"),
        (2 * GIB, 0, "-2.00 GiB"),
        (0, 1000, "+<1 MiB"),
        (1, 0, "-<1 MiB"),
        (0, 7 * MIB, "+7 MiB"),
    ],
)
def test_a_difference_of_memory_has_its_sign(a: int, b: int, shown: str) -> None:
    text = click.unstyle(explain_diff(("a", "b"), [Difference("memory.host_bytes", a, b)], Paper()))
    assert text.splitlines()[-1].endswith(f" {shown}")


def test_a_plan_does_not_differ_from_itself() -> None:
    assert differences(SMALL, SMALL) == []
    assert explain_diff(("a", "b"), [], Paper()) == "a and b: the same plan."


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_says_sizes_in_gib_and_keeps_to_its_width(columns: int) -> None:
    text = click.unstyle(explain_diff(("orin-nx-8gb", "orin-nx-16gb"), differences(SMALL, LARGE), Paper(columns)))
    available = [document["memory"]["available_bytes"] / 1024**3 for document in (SMALL, LARGE)]
    row = next(line.split() for line in text.splitlines() if line.startswith("  available"))
    assert row[1::2] == [f"{available[0]:.2f}", f"{available[1]:.2f}", f"{available[1] - available[0]:+.2f}"]
    assert "orin-nx-8gb" in text.splitlines()[0]
    assert "--max-num-batched-tokens" in text
    assert max(map(len, text.splitlines())) <= columns


def test_a_saved_plan_is_read_back_as_it_was() -> None:
    assert parse_plan(json.dumps(SMALL), "a.json") == SMALL
    assert json.loads(json.dumps(diff_json(("a", "b"), differences(SMALL, LARGE))))["a"] == "a"


def test_a_plan_saved_without_what_was_added_later_can_still_be_compared() -> None:
    older = SMALL | {"speed": {}, "context": {"max_model_len": 1024}}
    assert "speed.decode_tokens_per_s_ceiling" in {each.name for each in differences(older, SMALL)}
    assert "–" in explain_diff(("older", "newer"), differences(older, SMALL), Paper())


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "3", '"plan"', "{}", '{"model": "x"}', "[" * 100_000,
        '{"model": 1, "device": {}, "engine": {}, "memory": {}, "context": {}, "speed": {}}',
        '{"model": "x", "device": [], "engine": {}, "memory": {}, "context": {}, "speed": {}}',
        '{"model": "x", "device": {}, "engine": {"argv": [1]}, "memory": {}, "context": {}, "speed": {}}',
        '{"together": [], "in_turns": []}',
    ],
)  # fmt: skip
def test_other_files_are_refused_as_saved_plans(text: str) -> None:
    with pytest.raises(BadInputError, match=r"a\.json"):
        parse_plan(text, "a.json")


def test_unexpected_values_in_a_saved_plan_are_shown_as_they_are() -> None:
    strange = SMALL | {"memory": {"weights_bytes": "much", "kv_cache_bytes": None, "total_bytes": [1]}}
    assert "much" in explain_diff(("a", "b"), differences(strange, SMALL), Paper())
