"""The start-up gate, checked by vLLM's own arithmetic."""

import math

from hypothesis import given
from hypothesis import strategies as st

from vedette.plan.gate import gate_utilization

GIB = 1024**3


@given(st.integers(GIB, 256 * GIB), st.data())
def test_vllm_s_check_passes_with_any_memory_that_a_model_could_use(total_bytes: int, data: st.DataObject) -> None:
    free_bytes = data.draw(st.integers(total_bytes // 5_000, total_bytes))
    share = float(f"{gate_utilization(total_bytes, free_bytes):.4f}")  # as it is said on the command line
    assert 0 < share <= 0.01
    assert math.ceil(total_bytes * share) <= free_bytes
