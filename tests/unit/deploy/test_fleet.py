"""Which of several models a swap replaces."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from vedette.deploy.fleet import Fleet
from vedette.errors import ModelNotFoundError
from vedette.settings.home import Home
from vedette.settings.load import read_settings

NOWHERE = Path("/nowhere")


@dataclass
class Served:
    name: str
    used_at: float
    abandoned: bool = False
    swapped_to: list[str] = field(default_factory=list)

    async def swap(self, argument: str) -> None:
        self.swapped_to.append(argument)


def fleet(*served: Served) -> Fleet:
    settings = read_settings({"model": "a", "beside": "b"}, {"HOME": "/nowhere"})
    found = Fleet(settings, Home(NOWHERE, NOWHERE, NOWHERE), "http://127.0.0.1:1", lambda event: None)
    assert len(found.served) == 2
    found.served = cast(Any, served)
    return found


async def test_without_a_name_the_model_that_was_used_longest_ago_is_replaced() -> None:
    models = Served("a", 3.0), Served("b", 1.0), Served("c", 2.0)
    assert await fleet(*models).swap("new") is cast(Any, models[1])
    assert [model.swapped_to for model in models] == [[], ["new"], []]


async def test_a_model_that_was_given_up_is_replaced_last() -> None:
    models = Served("a", 1.0, abandoned=True), Served("b", 2.0)
    assert await fleet(*models).swap("new") is cast(Any, models[1])


async def test_a_named_model_is_replaced() -> None:
    models = Served("a", 1.0), Served("b", 2.0)
    assert await fleet(*models).swap("new", replace="b") is cast(Any, models[1])
    assert models[0].swapped_to == []


async def test_a_model_that_is_served_already_is_asked_itself() -> None:
    models = Served("a", 1.0), Served("b", 2.0)
    assert await fleet(*models).swap("b", replace="a") is cast(Any, models[1])


async def test_a_name_that_is_not_served_cannot_be_replaced() -> None:
    with pytest.raises(ModelNotFoundError) as refused:
        await fleet(Served("a", 1.0), Served("b", 2.0)).swap("new", replace="c" * 300)
    assert refused.value.message.params == {"model": "c" * 200, "served": ("a", "b")}
