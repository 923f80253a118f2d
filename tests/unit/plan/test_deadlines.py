"""Deadlines follow from the plan: larger models and slower machines get more time, and nobody waits for ever."""

from tests.rig.plans import proposal_of
from vedette.plan.deadlines import patience_for, start_limits

TINY = proposal_of("vedette-tiny", "orin-nano-8gb").plan
LARGE = proposal_of("cosmos-reason2-2b", "orin-nano-8gb").plan
MEASURED = {"launching_engine": 10.0, "loading_weights": 5.0, "warming_up": 8.0}


def test_a_start_may_take_longer_with_more_to_read_and_less_long_once_measured() -> None:
    assert start_limits(LARGE, None).whole_s > start_limits(TINY, None).whole_s > 600
    assert 5 * 23 < start_limits(TINY, MEASURED).whole_s < 600
    assert start_limits(TINY, MEASURED).opening_s == 40
    assert start_limits(TINY, {}).opening_s > 40


def test_silence_is_borne_longer_of_a_slow_engine() -> None:
    fast, slow, unknown = (patience_for(LARGE, speed) for speed in (400.0, 10.0, None))
    assert fast.busy_s < slow.busy_s <= unknown.busy_s <= 900
    assert fast.quiet_s <= 10 < fast.busy_s
    assert slow.quiet_s <= slow.busy_s
