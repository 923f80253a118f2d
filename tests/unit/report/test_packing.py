"""Several models on one device, in words."""

import dataclasses

import click

from tests.rig.plans import proposal_of
from vedette.language.message import Message
from vedette.plan.plan import Concession
from vedette.plan.side_by_side import Room
from vedette.report.packing import explain_packing
from vedette.report.paper import Paper
from vedette.units import GIB, missing_size

COSMOS, TINY = proposal_of("cosmos-reason2-2b", "agx-orin-64gb"), proposal_of("vedette-tiny", "agx-orin-64gb")
LARGE = proposal_of("Qwen2-7B-Instruct", "orin-nano-8gb")


def test_side_by_side_has_one_bar_and_a_row_for_each() -> None:
    together = [(COSMOS.plan, COSMOS.arguments), (TINY.plan, TINY.arguments)]
    available = COSMOS.plan.memory.available_bytes
    lines = click.unstyle(explain_packing(together, [], Room(available, GIB), Paper(80))).splitlines()
    left = available - COSMOS.plan.memory.total_bytes - TINY.plan.memory.total_bytes - GIB
    assert lines[0].endswith(f"2 models fit side by side, {left / GIB:.2f} GiB left")
    bar = next(line for line in lines if line.startswith("  AA"))
    assert bar.count("A") > bar.count("B") >= 1
    row = next(line for line in lines if line.startswith("  vedette-tiny"))
    assert f"{TINY.plan.context.max_model_len:,}" in row
    own = TINY.plan.memory.total_bytes - TINY.plan.memory.reserve_bytes
    assert f"{own / GIB:.2f}" in row.split()
    assert any(f"B vedette-tiny {own / GIB:.2f} GiB" in line for line in lines), "the bar and the row say the same"
    assert sum("vllm serve" in line for line in lines) == 2
    assert max(len(line) for line in lines if "vllm serve" not in line) <= 80


def test_models_that_must_take_turns_are_listed_with_the_reason() -> None:
    alone = dataclasses.replace(COSMOS.plan, device_name="Board")
    text = click.unstyle(
        explain_packing(
            [(TINY.plan, TINY.arguments)], [alone, LARGE.plan], Room(TINY.plan.memory.available_bytes, 0), Paper(80)
        )
    )
    text = " ".join(text.split())
    assert "of 3 models only one fits" in text
    assert f"nvidia/Cosmos-Reason2-2B: fits alone: {alone.memory.total_bytes / GIB:.2f} GiB" in text
    assert f"does not fit even alone: {missing_size(LARGE.plan.shortfall_bytes)} are missing" in text


def test_none_beside_another() -> None:
    text = click.unstyle(explain_packing([], [LARGE.plan, LARGE.plan], Room(8 * GIB, GIB), Paper(80)))
    assert "none of these models fits" in text.splitlines()[0]
    assert "Flags" not in text


def test_a_wish_that_does_not_fit_beside_another_is_said() -> None:
    wished, planned = (Message("plan.wish.context", tokens=tokens) for tokens in (100_000, 50_000))
    given_up = Concession(wished, planned, GIB)
    plan = dataclasses.replace(TINY.plan, concession=given_up)
    text = explain_packing([(plan, TINY.arguments)], [], Room(plan.memory.available_bytes, 0), Paper(80))
    text = " ".join(click.unstyle(text).split())
    assert "vedette-tiny: Not everything that you asked for fits: a context of 100,000 would take 1.00 GiB more" in text
