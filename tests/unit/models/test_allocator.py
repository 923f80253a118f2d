"""Segments of torch's allocator: what was seen on a GPU, and what must hold of any tensors."""

from hypothesis import example, given
from hypothesis import strategies as st

from vedette.models.allocator import held_bytes

MIB = 1024**2
SIZES = st.lists(st.integers(1, 24 * MIB) | st.sampled_from([MIB, 8 * MIB, 10 * MIB]), max_size=12)


def test_large_tensors_have_segments_of_their_own_in_steps_of_two_mib() -> None:
    # One H100: 4,371 and 4,399 MiB of cache for 28 layers left the same memory free, 4,427 did not start.
    assert held_bytes([int(156.1 * MIB)] * 28) == held_bytes([int(157.1 * MIB)] * 28) == 28 * 158 * MIB
    assert held_bytes([int(158.1 * MIB)] * 28) == 28 * 160 * MIB


def test_smaller_tensors_share_segments_of_twenty_mib() -> None:
    # On the same GPU 213 MiB of cache for 32 layers left 55 MiB free, and 219 MiB did not start.
    assert held_bytes([213 * MIB // 32] * 32) == 11 * 20 * MIB
    assert held_bytes([219 * MIB // 32] * 32) == 16 * 20 * MIB
    assert held_bytes([MIB // 2] * 9) == 3 * 2 * MIB
    assert held_bytes([]) == held_bytes([0]) - 2 * MIB == 0


def test_a_larger_tensor_takes_less_where_it_gets_a_segment_of_its_own() -> None:
    assert held_bytes([10 * MIB - 512]) == 20 * MIB
    assert held_bytes([10 * MIB - 511]) == held_bytes([10 * MIB]) == 10 * MIB
    assert held_bytes([10 * MIB - 512] * 3) == 40 * MIB
    assert held_bytes([10 * MIB] * 3) == 30 * MIB


@given(tensors=SIZES, others=SIZES)
def test_segments_hold_their_tensors_and_more_tensors_never_take_less(tensors: list[int], others: list[int]) -> None:
    assert held_bytes(tensors) >= sum(tensors)
    assert held_bytes(tensors) <= held_bytes(tensors + others) <= held_bytes(tensors) + held_bytes(others)


@given(size=st.integers(1, 64 * MIB), more=st.integers(0, 64 * MIB), count=st.integers(1, 80))
@example(size=2096641, more=8388608, count=1)
def test_larger_tensors_take_less_only_where_they_stop_sharing(size: int, more: int, count: int) -> None:
    smaller, larger = held_bytes([size] * count), held_bytes([size + more] * count)
    if size <= 10 * MIB - 512 < size + more:
        assert larger >= smaller - 10 * MIB
    else:
        assert larger >= smaller
