"""Boards by name."""

import pytest

from vedette.device.boards import boards, device_named
from vedette.errors import DeviceError

GIB = 1024**3


def test_a_board_off_the_board() -> None:
    device = device_named("orin-nano-8gb")
    assert device.assumed
    assert device.unified_memory
    assert device.compute_capability == (8, 7)
    assert 7.3 * GIB < device.memory_total_bytes < 7.5 * GIB
    assert device.memory_available_bytes == device.memory_total_bytes - GIB


@pytest.mark.parametrize("name", ["Orin-Nano-8GB", "jetson orin nano 8gb", "Jetson_Orin_Nano_8GB"])
def test_names_are_forgiving(name: str) -> None:
    assert device_named(name) == device_named("orin-nano-8gb")


def test_a_misspelt_name_suggests_the_nearest() -> None:
    with pytest.raises(DeviceError) as caught:
        device_named("orin-nanno-8gb")
    assert caught.value.hint.startswith("Did you mean orin-nano-8gb?")
    assert "orin-nanno-8gb" in caught.value.sentence


def test_a_name_like_nothing_lists_all() -> None:
    with pytest.raises(DeviceError) as caught:
        device_named("zzzz")
    assert all(name in caught.value.hint for name in boards())


def test_every_module_belongs_to_one_board() -> None:
    modules = [module for board in boards().values() for module in board.modules]
    assert len(modules) == len(set(modules))
    for name, board in boards().items():
        assert board.memory_nominal_gib * 0.85 * 1024 < board.memory_total_mib < board.memory_nominal_gib * 1024, name
