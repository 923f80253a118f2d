"""What torch's allocator takes to load a model: computed, and measured on a GPU (bench/lab/load_trace.jsonl)."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.lab.shapes import make_shape
from vedette.models.checkpoint import read_model
from vedette.models.loading import Kernel, Loaded, Module, load
from vedette.models.model import Model
from vedette.units import MIB

ROWS = [
    json.loads(line) for line in (Path(__file__).parents[3] / "bench/lab/load_trace.jsonl").read_text().splitlines()
]
TOKENS_A_STEP = 8192


def kernel_of(case: str, quantization: str | None) -> Kernel:
    """The kernel that vLLM chose in this case on a Hopper GPU."""
    if case.endswith(":marlin") or quantization == "nvfp4":
        return Kernel.MARLIN
    return Kernel.NATIVE if quantization == "w8a8-fp8" else Kernel.MACHETE


def computed_bytes(case: str, model: Model) -> int:
    kernel, tables = kernel_of(case, model.quantization), tuple(rotary.table_bytes for rotary in model.rotary)
    found = model.weights_bytes + sum(tables) + load(model.modules, tables, model.quantization, kernel).unused_bytes
    found += 2 * model.deepstack_levels * TOKENS_A_STEP * model.hidden_size
    if kernel is Kernel.MACHETE:
        found += model.zero_points_bytes * {"awq": 3, "gptq": 1}.get(model.quantization or "", 0)
    return found


@pytest.fixture(scope="module")
def shape_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    @cache
    def read(name: str) -> Model:
        return read_model(make_shape(name, tmp_path_factory.mktemp("shapes") / name))

    return read


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_a_load_takes_what_was_measured(row: dict[str, Any], shape_of: Callable[[str], Model]) -> None:
    model = shape_of(row["case"].removesuffix(":marlin"))
    assert computed_bytes(row["case"], model) == pytest.approx(row["weights"], rel=0.0015)


def test_every_format_was_measured_in_three_sizes() -> None:
    cases = {row["case"].removesuffix(":marlin") for row in ROWS}
    for end in ("-AWQ", "-GPTQ-Int4", ".w4a16", ".w8a8", "-FP8-dynamic", "-FP8", "-NVFP4"):
        assert len([case for case in cases if case.endswith(end)]) >= 3, end


def layer(number: int, **sizes: int) -> Module:
    return Module(f"model.layers.{number}.mlp.down_proj", tuple(sizes.items()), vision=False)


def test_weights_that_are_not_repacked_leave_no_gaps_to_count() -> None:
    modules = tuple(layer(number, weight=7 * MIB) for number in range(4))
    # Two fit in a segment of 20 MiB; the rest of 6 MiB stays free, and nothing is larger than its tensor.
    assert load(modules, (), None, Kernel.NATIVE) == Loaded(0, 0, 28 * MIB)


def test_awq_needs_room_for_its_unpacked_numbers() -> None:
    """Each number of 4 bits takes 32 for a moment, in two tensors at once."""
    modules = (layer(0, qweight=64 * MIB, scales=MIB),)
    assert load(modules, (), "awq", Kernel.MARLIN).peak_bytes >= (2 * 8 + 1) * 64 * MIB
    assert load(modules, (), "gptq", Kernel.MARLIN).peak_bytes == 129 * MIB
