"""Today's plans beside measurements of these plans on a GPU (bench/product/plan/on_gpu.jsonl)."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.lab.shapes import make_shape
from bench.product.plan import gpu_table
from vedette.device.device import Device, Family
from vedette.models.checkpoint import read_model
from vedette.models.model import Model
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish, Workload

GIB = 1024**3
TABLES = Path(__file__).parents[3] / "bench" / "product" / "plan"
ROWS = gpu_table.lines(TABLES / "on_gpu.jsonl")
QUANTIZED = gpu_table.lines(TABLES / "on_gpu_quantized.jsonl")
UNEXPLAINED_BYTES = 8 * 1024**2
"""Qwen2.5-1.5B-AWQ takes 7 MiB less in a server than computed, and than when it is loaded alone."""
H100_BYTES = 85_017_755_648


@pytest.fixture(scope="module")
def shape_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    @cache
    def read(name: str) -> Model:
        return read_model(make_shape(name, tmp_path_factory.mktemp("shapes") / name))

    return read


def name_of(row: dict[str, Any]) -> str:
    return f"{row['shape']}@{row['board']}"


def planned(row: dict[str, Any], model: Model) -> Plan:
    device = Device(
        name="H100",
        family=Family.NVIDIA,
        machine="x86_64",
        memory_total_bytes=H100_BYTES,
        memory_available_bytes=row["budget"],
        unified_memory=False,
        cpu_count=16,
        gpu_name="NVIDIA H100 80GB HBM3",
        compute_capability=(9, 0),
        memory_bandwidth_bytes_per_s=3_350_000_000_000,
        host_memory_available_bytes=100 * GIB,
    )
    return make_plan(device, model, Wish(workload=Workload.API))


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_plan_takes_the_context_that_was_served_and_no_longer_one(
    row: dict[str, Any], shape_of: Callable[[str], Model]
) -> None:
    plan = planned(row, shape_of(row["shape"]))
    assert row["first"]["ok"]
    assert plan.context.max_model_len == pytest.approx(row["max_model_len"], rel=0.01)
    too_long = row["search"].get("too_long") or plan.context.max_model_len + 1
    assert 0.95 * too_long <= plan.context.max_model_len < too_long


@pytest.mark.parametrize("row", QUANTIZED, ids=name_of)
def test_a_plan_for_quantized_weights_takes_the_context_that_was_served(
    row: dict[str, Any], shape_of: Callable[[str], Model]
) -> None:
    plan = planned(row, shape_of(row["shape"]))
    assert row["first"]["ok"]
    assert not row["first"]["out_of_memory"]
    assert plan.context.max_model_len == row["max_model_len"]


@pytest.mark.parametrize("row", ROWS + QUANTIZED, ids=name_of)
def test_weights_are_planned_within_half_a_percent(row: dict[str, Any], shape_of: Callable[[str], Model]) -> None:
    planned_bytes = planned(row, shape_of(row["shape"])).memory.weights_bytes
    measured_bytes = row["first"]["reported"]["model_weights_bytes"]
    if row["shape"] == "Qwen2.5-1.5B-Instruct-AWQ":
        assert 0 <= planned_bytes - measured_bytes < UNEXPLAINED_BYTES
    else:
        assert planned_bytes == pytest.approx(measured_bytes, rel=0.005)


def test_there_are_as_many_cases_as_were_asked_for() -> None:
    assert len(QUANTIZED) >= 16
    assert len(ROWS) >= 24
    assert len({row["shape"] for row in ROWS}) >= 10
    assert {row["board"] for row in ROWS} == {8, 16, 32, 64}


def test_where_memory_is_shortest_keys_and_values_take_eight_bits_and_steps_are_small(
    shape_of: Callable[[str], Model],
) -> None:
    plans = {name_of(row): planned(row, shape_of(row["shape"])) for row in ROWS}
    eight_bit = {name: plan for name, plan in plans.items() if plan.settings.kv_cache_dtype is not None}
    assert list(eight_bit) == ["Meta-Llama-3.1-8B-Instruct-quantized.w4a16@8"]
    (plan,) = eight_bit.values()
    assert 2048 < plan.context.max_model_len < 4096
    assert plan.settings.max_num_batched_tokens == 256
