"""Boards by name."""

import dataclasses

import pytest

from vedette.device.boards import boards, device_named, device_of
from vedette.device.device import Family
from vedette.errors import DeviceError
from vedette.units import GIB


def test_a_board_can_be_planned_for_on_another_machine() -> None:
    device = device_named("orin-nano-8gb")
    assert device.assumed
    assert device.unified_memory
    assert device.compute_capability == (8, 7)
    assert 7.3 * GIB < device.memory_total_bytes < 7.5 * GIB
    assert device.memory_available_bytes == device.memory_total_bytes - GIB


@pytest.mark.parametrize("name", ["Orin-Nano-8GB", "jetson orin nano 8gb", "Jetson_Orin_Nano_8GB"])
def test_case_spaces_and_a_leading_jetson_do_not_matter(name: str) -> None:
    assert device_named(name) == device_named("orin-nano-8gb")


def test_only_boards_with_a_jetpack_before_7_2_count_the_page_cache_as_used() -> None:
    counted = {name for name in boards() if device_named(name).page_cache_counts_as_used}
    jetpacks = {name: board.jetpack for name, board in boards().items() if board.jetpack is not None}
    assert counted == {name for name, jetpack in jetpacks.items() if not jetpack.startswith("7.2")}
    assert device_named("orin-nano-8gb").page_cache_counts_as_used


@pytest.mark.parametrize(("jetpack", "counted"), [("7.1", True), ("7.2", False), ("7.10", False), ("8.0", False)])
def test_the_page_cache_counts_as_used_before_jetpack_7_2(jetpack: str, counted: bool) -> None:
    board = dataclasses.replace(boards()["agx-thor"], jetpack=jetpack)
    assert device_of(board).page_cache_counts_as_used is counted


@pytest.mark.parametrize(
    "name", ["orin-nano-8gb-r39", "Orin Nano 8GB R39", "orin-nano-8gb-jetpack-7.2", "orin-nano-8gb-l4t39"]
)
def test_a_board_with_the_newest_jetpack(name: str) -> None:
    device = device_named(name)
    assert (device.l4t_version, device.jetpack_version) == ("39.2.1", "7.2.1")
    assert not device.page_cache_counts_as_used
    assert device.memory_total_bytes == device_named("orin-nano-8gb").memory_total_bytes


def test_dgx_spark_is_no_jetson() -> None:
    spark = device_named("dgx-spark")
    assert (spark.family, spark.unified_memory, spark.compute_capability) == (Family.NVIDIA, True, (12, 1))
    assert spark.l4t_version is None


def test_a_misspelt_name_suggests_the_nearest() -> None:
    with pytest.raises(DeviceError) as caught:
        device_named("orin-nanno-8gb")
    assert caught.value.hint.startswith("Did you mean orin-nano-8gb?")
    assert "orin-nanno-8gb" in caught.value.sentence


def test_an_unknown_name_lists_all_boards() -> None:
    with pytest.raises(DeviceError) as caught:
        device_named("zzzz")
    assert all(name in caught.value.hint for name in boards())


def test_every_module_belongs_to_one_board() -> None:
    modules = [module for board in boards().values() for module in board.modules]
    assert len(modules) == len(set(modules))
    for name, board in boards().items():
        assert board.memory_nominal_gib * 0.85 * 1024 < board.memory_total_mib < board.memory_nominal_gib * 1024, name
