"""Orders to serve another model: each ends once, also when its caller or the deployment ends."""

import asyncio
from pathlib import Path

import pytest

from vedette.deploy.stages import Assignment
from vedette.deploy.swap import Orders
from vedette.errors import DoesNotFitError, EngineFailedError
from vedette.models.store.model_lookup import ModelRef
from vedette.settings.load import read_settings

TOO_LARGE = DoesNotFitError("errors.verbatim", sentence="It needs 1 GiB more.", hint="Free memory.")


def assignment(name: str) -> Assignment:
    settings = read_settings({"model": name}, {"HOME": "/nowhere"})
    return Assignment(settings, ModelRef(name, Path("/nowhere"), installed=True))


async def placed(orders: Orders, name: str) -> "asyncio.Task[None]":
    task = asyncio.ensure_future(orders.place(assignment(name)))
    await asyncio.sleep(0)
    return task


async def test_an_order_ends_when_it_is_carried_out() -> None:
    orders = Orders()
    waiting = await placed(orders, "new")
    assert orders.next_model == "new"
    order = await orders.next()
    assert (order.assignment.ref.name, waiting.done()) == ("new", False)
    order.succeed()
    order.fail(TOO_LARGE)  # it has ended
    order.succeed()
    await waiting
    assert orders.next_model is None


async def test_an_order_that_fails_says_why() -> None:
    orders = Orders()
    waiting = await placed(orders, "new")
    order = await orders.next()
    order.fail(TOO_LARGE)
    order.succeed()
    with pytest.raises(DoesNotFitError) as failed:
        await waiting
    assert failed.value is TOO_LARGE


async def test_an_order_goes_on_when_whoever_placed_it_is_gone() -> None:
    orders = Orders()
    waiting = await placed(orders, "new")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    order = await orders.next()
    assert orders.next_model == "new"
    order.fail(TOO_LARGE)  # no warning that nobody read the result
    assert orders.next_model is None


async def test_orders_are_carried_out_in_turn() -> None:
    orders = Orders()
    first, second = await placed(orders, "first"), await placed(orders, "second")
    for name, waiting in (("first", first), ("second", second)):
        assert orders.next_model == name
        order = await orders.next()
        assert order.assignment.ref.name == name
        order.succeed()
        await waiting


async def test_the_end_fails_every_order_and_refuses_later_ones() -> None:
    orders = Orders()
    waiting = [await placed(orders, name) for name in ("under way", "second", "third")]
    await orders.next()
    assert not orders.closed
    orders.close()
    assert orders.closed
    waiting.append(await placed(orders, "later"))
    for task in waiting:
        with pytest.raises(EngineFailedError) as stopped:
            await task
        assert stopped.value.message.code == "deploy.stopped"
    Orders().close()


async def test_the_end_leaves_an_order_that_was_carried_out_as_it_is() -> None:
    orders = Orders()
    waiting = await placed(orders, "new")
    (await orders.next()).succeed()
    orders.close()
    await waiting
