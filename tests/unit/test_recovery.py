"""What is tried after a death: the same again, less memory, or nothing more."""

import dataclasses
from pathlib import Path

from vedette.device.catalogue import device_named
from vedette.engine.state import Cause
from vedette.models.store import find_model, read_source
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish
from vedette.recovery import LONGEST_BACKOFF_S, MOST_IN_A_ROW, STEADY_S, Recovery

MIB = 1024**2
KILLED = Cause("killed", "", "")
OUT_OF_MEMORY = Cause("out_of_memory", "", "")


def plan_within(budget_bytes: int | None) -> Plan:
    device = device_named("agx-orin-32gb")
    if budget_bytes is not None:
        device = dataclasses.replace(device, memory_available_bytes=budget_bytes)
    model = read_source(find_model("ERNIE-4.5-0.3B", Path("/nowhere")))
    assert model is not None
    return make_plan(device, model, Wish())


def test_every_lack_of_memory_takes_a_step_down_until_nothing_fits() -> None:
    recovery, plans = Recovery(), [plan_within(None)]
    while plans[-1].fits:
        assert recovery.after(OUT_OF_MEMORY, plans[-1], 0.0) is not None
        assert recovery.budget_bytes is not None
        assert recovery.budget_bytes <= plans[-1].memory.total_bytes - 128 * MIB
        plans.append(plan_within(recovery.budget_bytes))
        assert len(plans) < 40
    served = [plan.context.max_model_len for plan in plans]
    assert served == sorted(served, reverse=True)
    assert len(plans) > 4
    assert plans[-1].shortfall_bytes > 0


def test_other_deaths_change_no_plan_and_wait_longer_each_time() -> None:
    recovery, plan = Recovery(), plan_within(None)
    delays = [recovery.after(KILLED, plan, 0.0) for _ in range(MOST_IN_A_ROW)]
    assert recovery.budget_bytes is None
    assert delays == sorted(delay for delay in delays if delay is not None)
    assert delays[-1] == LONGEST_BACKOFF_S
    assert recovery.after(KILLED, plan, 0.0) is None


def test_steady_service_makes_up_for_deaths() -> None:
    recovery, plan = Recovery(), plan_within(None)
    assert all(recovery.after(KILLED, plan, STEADY_S) == 2.0 for _ in range(100))
