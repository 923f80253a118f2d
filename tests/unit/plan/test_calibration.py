"""How a measured start corrects the next plan."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig.devices import jetson
from tests.rig.models import catalogue_model
from vedette.plan.calibration import (
    HOST_GROWTH_BYTES,
    OUT_OF_MEMORY_MARGIN_BYTES,
    ROUNDING_BYTES,
    SPARE_LIBRARIES_BYTES,
    Calibration,
    Conditions,
    Key,
    Lesson,
    Reported,
    affordable_bytes,
    calibration_key,
    corrected,
    corrected_bytes,
    lesson_key,
    smaller_budget_bytes,
)
from vedette.plan.make import make_plan
from vedette.plan.plan import Backend, Graphs, Memory, Wish, Workload
from vedette.units import GIB, MIB

KEY = Key("Jetson Orin Nano 8GB", 8 * GIB, "0.26.0", "a/model", 3 * GIB, Backend.CUDA, Graphs.GRAPHS, None, True, True)
CONDITIONS = Conditions(2048, 2, 1024, 512 * MIB, 2, 1, 262_144, 2_097_152, 8, (1, 2))
COMPUTED = Memory(
    weights_bytes=4 * GIB,
    kv_cache_bytes=512 * MIB,
    activation_bytes=150 * MIB,
    vision_activation_bytes=50 * MIB,
    cuda_graph_bytes=80 * MIB,
    runtime_bytes=850 * MIB,
    host_bytes=1780 * MIB,
    reserve_bytes=256 * MIB,
    available_bytes=16 * GIB,
)
BYTES = st.integers(0, 1 << 40)


def calibration(**measured: Any) -> Calibration:
    names = {field.name for field in dataclasses.fields(Reported)}
    reported = Reported(**{name: value for name, value in measured.items() if name in names})
    beside = {name: value for name, value in measured.items() if name not in names}
    return dataclasses.replace(Calibration(KEY, CONDITIONS), reported=reported, **beside)


@pytest.mark.parametrize(
    ("wish", "pictures", "clips"),
    [
        (Wish(Workload.CLIP), True, True),
        (Wish(Workload.LIVE), True, False),
        (Wish(images_per_request=0), False, False),
    ],
)
def test_a_record_is_kept_by_what_the_engine_takes(wish: Wish, pictures: bool, clips: bool) -> None:
    model = catalogue_model("cosmos-reason2-2b")
    key = calibration_key(jetson(24 * GIB), model, make_plan(jetson(24 * GIB), model, wish).settings, "0.32.0")
    assert (key.pictures, key.clips, key.engine_version) == (pictures, clips, "0.32.0")
    assert (key.model_name, key.weights_bytes) == (model.name, model.weights_bytes)


def test_a_record_that_holds_nothing_corrects_nothing() -> None:
    assert corrected(COMPUTED, COMPUTED, calibration()) == (COMPUTED, frozenset())


def test_under_the_same_conditions_the_measured_figures_replace_the_computed_ones() -> None:
    found, parts = corrected(
        COMPUTED,
        COMPUTED,
        calibration(
            model_weights_bytes=int(4.25 * GIB),
            cuda_graph_bytes=20 * MIB,
            peak_activation_bytes=400 * MIB,
            host_bytes=1500 * MIB,
        ),
    )
    assert found.weights_bytes == int(4.25 * GIB)
    assert found.cuda_graph_bytes == 20 * MIB
    assert (found.activation_bytes, found.vision_activation_bytes) == (300 * MIB, 100 * MIB)
    assert found.host_bytes == 1500 * MIB + HOST_GROWTH_BYTES
    assert found.kv_cache_bytes == COMPUTED.kv_cache_bytes
    assert "runtime_bytes" not in parts
    assert {"weights_bytes", "cuda_graph_bytes", "activation_bytes", "host_bytes"} <= parts


def test_a_figure_within_the_reports_rounding_confirms_the_computed_one() -> None:
    found, parts = corrected(COMPUTED, COMPUTED, calibration(model_weights_bytes=4 * GIB - ROUNDING_BYTES))
    assert found.weights_bytes == COMPUTED.weights_bytes
    assert parts == {"weights_bytes"}


@pytest.mark.parametrize(
    ("outside_mib", "runtime_mib"),
    [
        (600, 600),  # less than was assumed
        (900, 850),  # as assumed, with activations that the allocator keeps
        (1300, 1100),  # more, even if all 200 MiB of activations are in it
    ],
)
def test_what_the_device_holds_outside_the_account_is_the_runtimes(outside_mib: int, runtime_mib: int) -> None:
    weights, graphs = 4 * GIB, 80 * MIB
    device = weights + graphs + CONDITIONS.kv_cache_bytes + outside_mib * MIB
    measured = calibration(model_weights_bytes=weights, cuda_graph_bytes=graphs, device_bytes=device)
    assert corrected(COMPUTED, COMPUTED, measured)[0].runtime_bytes == runtime_mib * MIB


@pytest.mark.parametrize("returns_memory", [True, False])
@pytest.mark.parametrize(("more_mib", "planned_mib"), [(300, 300), (-300, 0)])
def test_on_a_cpu_the_weights_are_in_the_processes_memory_and_the_peak_is_not_seen(
    more_mib: int, planned_mib: int, returns_memory: bool
) -> None:
    held = COMPUTED.weights_bytes + COMPUTED.host_bytes + SPARE_LIBRARIES_BYTES
    if not returns_memory:  # the weights once more, from before they were repacked
        held += COMPUTED.weights_bytes
    measured = dataclasses.replace(
        calibration(host_bytes=held + more_mib * MIB),
        key=dataclasses.replace(KEY, backend=Backend.CPU),
        conditions=dataclasses.replace(CONDITIONS, returns_memory=returns_memory),
    )
    found = corrected(COMPUTED, COMPUTED, measured)[0]
    assert found.host_bytes == COMPUTED.host_bytes + planned_mib * MIB


def test_newer_versions_count_the_graphs_estimate_as_activation() -> None:
    assert (
        calibration(
            consumed_bytes=5 * GIB, peak_activation_bytes=300 * MIB, cuda_graph_estimate_bytes=100 * MIB
        ).reported.activation_bytes
        == 200 * MIB
    )


@given(now=BYTES, then=BYTES, measured=BYTES)
def test_larger_conditions_never_get_less_than_was_measured(now: int, then: int, measured: int) -> None:
    found = corrected_bytes(now, then, measured)
    assert found >= 0
    assert corrected_bytes(then, then, measured) == pytest.approx(measured, abs=ROUNDING_BYTES)
    if now >= then:
        assert found >= measured - ROUNDING_BYTES


@given(a=BYTES, b=BYTES, then=BYTES, measured=BYTES)
def test_asking_for_more_never_takes_less(a: int, b: int, then: int, measured: int) -> None:
    less, more = sorted((a, b))
    assert corrected_bytes(less, then, measured) <= corrected_bytes(more, then, measured)


LESSON = Lesson(planned_bytes=6 * GIB, at_most_bytes=5 * GIB, available_bytes=7 * GIB)


def taught(lesson: Lesson) -> Calibration:
    return dataclasses.replace(calibration(), lesson=lesson)


def test_after_a_crash_plans_stay_below_the_plan_that_crashed() -> None:
    assert affordable_bytes(8 * GIB, None) == 8 * GIB
    assert affordable_bytes(8 * GIB, calibration()) == 8 * GIB
    assert affordable_bytes(7 * GIB, taught(LESSON)) == 5 * GIB
    assert affordable_bytes(9 * GIB, taught(LESSON)) == 7 * GIB  # more is there than there was then
    assert affordable_bytes(4 * GIB, taught(LESSON)) == 3 * GIB  # and it would take too much of less as well
    assert affordable_bytes(GIB // 2, taught(LESSON)) == 0


@given(planned=BYTES, kept=BYTES, available=BYTES, a=BYTES, b=BYTES)
def test_a_lesson_never_gives_more_than_there_is_and_more_memory_never_less(
    planned: int, kept: int, available: int, a: int, b: int
) -> None:
    lesson = Lesson(planned, kept, available)
    less, more = sorted((a, b))
    assert 0 <= lesson.affordable_bytes(less) <= lesson.affordable_bytes(more) <= more


def test_after_several_crashes_in_a_row_the_steps_are_larger() -> None:
    kept = [smaller_budget_bytes(8 * GIB, deaths) for deaths in range(1, 7)]
    assert kept[0] == 8 * GIB - int(8 * GIB * 0.05)
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == kept[2] > kept[3] > kept[4] == kept[5] > 6 * GIB
    assert smaller_budget_bytes(OUT_OF_MEMORY_MARGIN_BYTES // 2) == 0


def test_steady_runs_end_a_lesson_and_a_second_lesson_holds_longer() -> None:
    served = dataclasses.replace(LESSON, services=1)
    assert affordable_bytes(7 * GIB, taught(served)) == 5 * GIB
    forgiven = dataclasses.replace(LESSON, services=2)
    assert affordable_bytes(7 * GIB, taught(forgiven)) == 7 * GIB
    again = Lesson(6 * GIB, smaller_budget_bytes(6 * GIB), 7 * GIB).after(forgiven)
    assert again.at_most_bytes == 5 * GIB  # what has served before, not the first step of another descent
    assert again.holds
    assert dataclasses.replace(again, services=3).holds
    assert not dataclasses.replace(again, services=4).holds


def test_crashes_without_a_steady_run_between_them_are_one_lesson() -> None:
    next_step = Lesson(5 * GIB, 4 * GIB, 7 * GIB).after(LESSON)
    assert next_step == Lesson(5 * GIB, 4 * GIB, 7 * GIB)


def test_settings_that_vary_with_the_memory_share_a_lesson() -> None:
    varied = dataclasses.replace(KEY, graphs=Graphs.EAGER, kv_cache_dtype="fp8", clips=False)
    assert lesson_key(varied) == lesson_key(KEY)
    for change in (
        {"engine_version": "0.32.0"},
        {"memory_total_bytes": GIB},
        {"weights_bytes": 1},
        {"pictures": False},
    ):
        assert lesson_key(dataclasses.replace(KEY, **change)) != lesson_key(KEY)


def test_an_estimate_above_the_peak_leaves_no_activation() -> None:
    reported = calibration(consumed_bytes=GIB, peak_activation_bytes=MIB, cuda_graph_estimate_bytes=2 * MIB).reported
    assert reported.activation_bytes == 0


def test_older_versions_report_activation_apart_from_the_graphs_estimate() -> None:
    reported = calibration(peak_activation_bytes=3 * MIB, cuda_graph_estimate_bytes=MIB).reported
    assert reported.activation_bytes == 3 * MIB
    assert calibration(consumed_bytes=GIB, cuda_graph_estimate_bytes=MIB).reported.activation_bytes is None
