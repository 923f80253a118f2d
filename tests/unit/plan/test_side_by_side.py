"""Several models on one device: side by side or in turns."""

import dataclasses
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vedette.device.boards import device_named
from vedette.models.model import Model
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.calibration import HOST_GROWTH_BYTES, Calibration, calibration_key, conditions_of
from vedette.plan.make import make_plan
from vedette.plan.plan import Wish
from vedette.plan.side_by_side import Wanted, pack

GIB = 1024**3


def catalogue_model(name: str) -> Model:
    model = read_facts(find_model(name, Path("/nowhere")))
    assert model is not None
    return model


COSMOS, ERNIE, QWEN = map(catalogue_model, ("cosmos-reason2-2b", "ernie-4.5-0.3b", "qwen2-7b-instruct"))


def test_two_models_share_a_large_board() -> None:
    packing = pack(device_named("agx-orin-32gb"), [Wanted(COSMOS, Wish()), Wanted(ERNIE, Wish())])
    assert [plan.model_name for plan in packing.together] == [COSMOS.name, ERNIE.name]
    assert not packing.in_turns
    assert all(plan.fits and plan.context.max_model_len == 8192 for plan in packing.together)


def test_what_does_not_fit_beside_the_first_takes_turns() -> None:
    packing = pack(device_named("orin-nx-16gb"), [Wanted(model, Wish()) for model in (COSMOS, QWEN, ERNIE)])
    assert [plan.model_name for plan in packing.together] == [COSMOS.name, ERNIE.name]
    assert [plan.model_name for plan in packing.in_turns] == [QWEN.name]


def test_what_a_start_taught_counts_beside_others_too() -> None:
    device = device_named("agx-orin-32gb")
    alone = make_plan(device, COSMOS, Wish())
    key = calibration_key(device, COSMOS, alone.settings, "0.32.0")
    measured = alone.memory.host_bytes + GIB
    record = Calibration(key, conditions_of(alone.settings), host_bytes=measured)
    computed = pack(device, [Wanted(COSMOS, Wish()), Wanted(ERNIE, Wish())]).together
    learned = pack(device, [Wanted(COSMOS, Wish(), record), Wanted(ERNIE, Wish())]).together
    assert learned[0].memory.host_bytes == measured + HOST_GROWTH_BYTES
    assert learned[0].memory.host_bytes > computed[0].memory.host_bytes
    assert learned[1].memory.host_bytes == computed[1].memory.host_bytes


@given(
    available=st.integers(0, 40 * GIB),
    models=st.lists(st.sampled_from([COSMOS, ERNIE, QWEN]), min_size=1, max_size=4),
)
def test_together_they_never_take_more_than_there_is(available: int, models: list[Model]) -> None:
    device = dataclasses.replace(device_named("agx-orin-64gb"), memory_available_bytes=available)
    packing = pack(device, [Wanted(model, Wish()) for model in models])
    assert len(packing.together) + len(packing.in_turns) == len(models)
    assert all(plan.fits for plan in packing.together)
    assert sum(plan.memory.total_bytes for plan in packing.together) <= available
    if len(models) == 1:
        assert bool(packing.together) == make_plan(device, models[0], Wish()).fits or packing.together
