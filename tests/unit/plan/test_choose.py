"""What stands in for a model that does not fit any more."""

from dataclasses import replace
from pathlib import Path

from vedette.device.boards import device_named
from vedette.device.device import Device
from vedette.models.model import Model
from vedette.models.store.model_catalogue import smaller_of_family
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.choose import choose_smaller
from vedette.plan.plan import Wish

GIB = 1024**3


def board(available_bytes: int) -> Device:
    return replace(device_named("agx-orin-32gb"), memory_available_bytes=available_bytes)


def family(name: str) -> list[tuple[str, Model]]:
    found = []
    for smaller in smaller_of_family(name):
        model = read_facts(find_model(smaller, Path("/nowhere")))
        assert model is not None
        found.append((smaller, model))
    return found


def test_the_first_that_fits_stands_in() -> None:
    qwen2 = family("qwen2-7b-instruct")
    chosen = [choose_smaller(board(memory * GIB), qwen2, Wish()) for memory in (12, 5, 2)]
    assert [found and found[0] for found in chosen] == ["Qwen/Qwen2-1.5B-Instruct", "Qwen/Qwen2-0.5B-Instruct", None]
    turned = choose_smaller(board(12 * GIB), qwen2[::-1], Wish())
    assert turned is not None
    assert turned[0] == "Qwen/Qwen2-0.5B-Instruct"


def test_what_a_board_cannot_run_or_what_cannot_see_does_not_stand_in() -> None:
    cosmos = family("cosmos-reason2-2b")
    assert choose_smaller(board(12 * GIB), cosmos, Wish(images_per_request=1)) is not None
    assert choose_smaller(replace(board(12 * GIB), compute_capability=(7, 2)), cosmos, Wish()) is None
    assert choose_smaller(board(12 * GIB), family("qwen2-7b-instruct"), Wish(images_per_request=1)) is None
