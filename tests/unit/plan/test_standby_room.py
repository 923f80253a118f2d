"""Whether a standby is worth its memory."""

import dataclasses
from pathlib import Path

import pytest

from vedette.device.boards import device_named
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.make import make_plan
from vedette.plan.plan import Memory, Plan, Wish
from vedette.plan.standby_room import has_room_for_standby
from vedette.units import GIB


def cosmos_on(board: str) -> Plan:
    model = read_facts(find_model("cosmos-reason2-2b", Path("/nowhere")))
    assert model is not None
    return make_plan(device_named(board), model, Wish())


@pytest.mark.parametrize(("board", "worth"), [("orin-nano-8gb", False), ("agx-orin-64gb", True), ("agx-thor", True)])
def test_small_boards_have_no_memory_for_a_standby(board: str, worth: bool) -> None:
    assert has_room_for_standby(cosmos_on(board)) is worth


def with_memory(plan: Plan, **sizes: int) -> Plan:
    memory: Memory = dataclasses.replace(plan.memory, **sizes)
    return dataclasses.replace(plan, memory=memory)


def test_three_times_what_it_holds_must_be_free_beside_the_plan() -> None:
    plan = cosmos_on("agx-thor")
    taken = plan.memory.total_bytes
    assert has_room_for_standby(with_memory(plan, available_bytes=taken + 3 * GIB))
    assert not has_room_for_standby(with_memory(plan, available_bytes=taken + 3 * GIB - 1))


def test_beside_a_gpu_with_memory_of_its_own_it_is_the_ram_that_counts() -> None:
    plan = cosmos_on("agx-thor")
    needed = plan.memory.host_bytes + 3 * GIB
    assert has_room_for_standby(
        with_memory(plan, available_bytes=plan.memory.engine_bytes, host_available_bytes=needed)
    )
    assert not has_room_for_standby(with_memory(plan, host_available_bytes=needed - 1))
