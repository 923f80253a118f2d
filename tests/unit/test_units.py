import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.units import GIB, MIB, duration, missing_size, size


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 MiB"),
        (1, "< 1 MiB"),
        (MIB, "1 MiB"),
        (50 * MIB, "50 MiB"),
        (GIB // 10, "0.10 GiB"),
        (3 * GIB, "3.00 GiB"),
        (-50 * MIB, "-50 MiB"),
    ],
)
def test_sizes_are_for_people(size_bytes: int, shown: str) -> None:
    assert size(size_bytes) == shown


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [(2.34, "2.3 s"), (59.96, "60.0 s"), (161, "2 min 41 s"), (3599.7, "1 h 0 min"), (7260, "2 h 1 min")],
)
def test_durations_are_for_people(duration_s: float, shown: str) -> None:
    assert duration(duration_s) == shown


@given(st.integers(0, 200 * GIB))
def test_freeing_the_missing_size_is_enough(missing_bytes: int) -> None:
    number, unit = missing_size(missing_bytes).split()
    assert float(number) * {"GiB": GIB, "MiB": MIB}[unit] >= missing_bytes
