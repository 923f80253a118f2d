"""What `up` tells of a plan before it runs it."""

import dataclasses
import io

from tests.rig.plans import NEWEST, proposal_of
from vedette.cli.console.screen import PersonScreen
from vedette.events import PlanMade


def test_a_wish_that_does_not_fit_is_noted_and_the_best_plan_told() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb", context=200_000, concurrency=4, image=NEWEST)
    assert proposal.plan.fits
    assert proposal.plan.concession is not None
    out = io.StringIO()
    for event in proposal.events:
        PersonScreen(out).show(event)
    plan, note = out.getvalue().splitlines()
    assert f"context {proposal.plan.context.max_model_len}" in plan
    assert "a context of 200,000" in note
    assert "more. Planned: a context of" in note


def test_what_an_older_engine_does_otherwise_is_noted() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb", context=2048, image=NEWEST)
    older = dataclasses.replace(proposal, engine=dataclasses.replace(proposal.engine, version="0.13.0"))
    (note,) = older.notes
    assert note.code == "engine.reasons_by_default"


def test_a_granted_wish_is_not_noted() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb", context=2048, image=NEWEST)
    assert [type(event) for event in proposal.events] == [PlanMade]
