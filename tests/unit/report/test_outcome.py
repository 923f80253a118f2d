"""Predicted against measured."""

import dataclasses

import click

from tests.rig.plans import proposal_of
from vedette.plan.calibration import SPARE_LIBRARIES_BYTES, Calibration, Reported, calibration_key, conditions_of
from vedette.plan.plan import Backend, Plan
from vedette.report.outcome import explain_outcomes, outcomes, outcomes_json
from vedette.report.paper import Paper

GIB = 1024**3


def measured(
    backend: Backend, reported: Reported, host_bytes: int, device_bytes: int | None
) -> tuple[Plan, Calibration]:
    proposal = proposal_of("cosmos-reason2-2b", "agx-orin-64gb")
    settings = dataclasses.replace(proposal.plan.settings, backend=backend)
    plan = dataclasses.replace(proposal.plan, settings=settings)
    key = calibration_key(proposal.device, proposal.model, settings, "0.32.0")
    phases = {"loading weights": 20.0, "warming up": 4.5}
    return plan, Calibration(
        key, conditions_of(settings), reported, device_bytes, host_bytes, phases, decode_tokens_per_s=25.0
    )


def test_a_unified_gpu_is_compared_part_by_part_and_in_total() -> None:
    reported = Reported(model_weights_bytes=4 * GIB, kv_cache_bytes=2 * GIB, peak_activation_bytes=GIB // 2)
    plan, calibration = measured(Backend.CUDA, reported, 2 * GIB, 8 * GIB)
    found = {each.name: each for each in outcomes(plan, calibration)}
    assert (found["weights"].predicted, found["weights"].measured) == (plan.memory.weights_bytes, 4 * GIB)
    assert found["total"].measured == 10 * GIB
    assert found["total"].predicted == plan.memory.total_bytes - plan.memory.reserve_bytes
    assert found["ready after"].measured == 24.5
    assert found["decoding"].measured == 25.0


def test_on_a_cpu_the_processes_hold_the_weights() -> None:
    plan, calibration = measured(Backend.CPU, Reported(kv_cache_bytes=2 * GIB), 6 * GIB, None)
    found = {each.name: each for each in outcomes(plan, calibration)}
    assert found["weights"].measured is None
    held = plan.memory.weights_bytes + plan.memory.host_bytes + SPARE_LIBRARIES_BYTES
    assert found["processes"].predicted == held
    assert found["total"].measured == 6 * GIB
    assert "graphs" not in found


def test_the_table_says_how_far_off_and_what_is_not_known() -> None:
    plan, calibration = measured(Backend.CPU, Reported(kv_cache_bytes=1), 6 * GIB, None)
    found = outcomes(plan, calibration)
    half = dataclasses.replace(found[0], predicted=2.0 * GIB, measured=1.0 * GIB)
    rounded = dataclasses.replace(found[1], predicted=0.047 * GIB, measured=0.05 * GIB)
    text = click.unstyle(explain_outcomes([half, rounded, *found[2:]], Paper(60)))
    rows = {line.split()[0]: line.split() for line in text.splitlines()[1:]}
    assert rows["weights"] == ["weights", "2.00", "GiB", "1.00", "GiB", "-50%"]
    assert rows["KV"][-1] == "±0%", "vLLM tells hundredths of a GiB"
    assert rows["activation"][-1] == "–"
    assert max(map(len, text.splitlines())) <= 60
    assert outcomes_json(found)[0] == {
        "name": "weights", "unit": "bytes", "predicted": plan.memory.weights_bytes, "measured": None,
    }  # fmt: skip
