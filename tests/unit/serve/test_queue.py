"""The admission to engines, with engines that are names and users that are tasks."""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import EngineUnavailableError, ModelNotFoundError, VedetteError
from vedette.serve import queue as queue_module
from vedette.serve.queue import MOST_PASSED_OVER, Priority, Queue, Ticket, WaitLimit, early_slots

PERSON, PAGE, WATCH = Priority


async def settle() -> None:
    """Let everything happen that can happen now."""
    for _ in range(6):
        await asyncio.sleep(0)


@dataclass(eq=False)
class User:
    """Somebody who asks once."""

    name: str
    ticket: Ticket[str]
    task: "asyncio.Task[None]"
    go: asyncio.Event = field(default_factory=asyncio.Event)


class World:
    """Engines by name, and everyone who has asked for one."""

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = {"a": capacity, "b": capacity}
        self.up = {"a", "b"}
        self.refused: dict[str, VedetteError] = {}
        self.queue: Queue[str] = Queue(self.capacity.__getitem__)
        self.admitted: list[str] = []
        self.running: Counter[str] = Counter()
        self.most_running: Counter[str] = Counter()
        self.users: list[User] = []

    def come(  # noqa: PLR0913 - most are left out
        self,
        name: str,
        priority: Priority = PAGE,
        client: str | None = None,
        wants: str = "a",
        takes_slot: bool = True,
        early: bool = False,
        wait_s: float | None = None,
    ) -> User:
        """Somebody asks; they hold their slot until `go`."""
        limit = None if wait_s is None else WaitLimit(wait_s)
        ticket = Ticket[str](
            Wants(self, wants), priority, client or name, wait_limit=limit, takes_slot=takes_slot, early=early
        )
        user = User(name, ticket, asyncio.ensure_future(_nothing()))
        user.task = asyncio.ensure_future(self._use(user))
        self.users.append(user)
        return user

    async def _use(self, user: User) -> None:
        async with self.queue.admit(user.ticket) as engine:
            assert engine in self.up
            self.admitted.append(user.name)
            self.running[engine] += user.ticket.takes_slot
            self.most_running[engine] = max(self.most_running[engine], self.running[engine])
            if user.ticket.takes_slot:
                capacity = max(1, self.capacity[engine])
                assert self.running[engine] <= capacity + (early_slots(capacity) if user.ticket.early else 0)
            try:
                await user.go.wait()
            finally:
                self.running[engine] -= user.ticket.takes_slot

    async def finish(self, user: User) -> None:
        user.go.set()
        await user.task
        await settle()

    async def order(self) -> list[str]:
        """Who is admitted in which order, each finished as soon as they are in."""
        await settle()
        while waiting := [user for user in self.users if not user.task.done()]:
            inside = next(user for user in waiting if user.name in self.admitted)
            await self.finish(inside)
        return self.admitted

    async def end(self) -> None:
        for user in self.users:
            user.task.cancel()
        await asyncio.gather(*(user.task for user in self.users), return_exceptions=True)


@dataclass(frozen=True)
class Wants:
    """The destination of who wants one engine."""

    world: World
    name: str

    def engine(self) -> str | None:
        if self.name in self.world.refused:
            raise self.world.refused[self.name]
        return self.name if self.name in self.world.up else None

    def too_late(self) -> VedetteError:
        return EngineUnavailableError("serve.stopping")


async def _nothing() -> None:
    pass


async def test_the_first_to_come_is_the_first_to_enter() -> None:
    world = World()
    for name in ("first", "second", "third"):
        world.come(name)
    assert await world.order() == ["first", "second", "third"]
    assert world.most_running["a"] == 1


async def test_clients_take_turns_whatever_each_has_waiting() -> None:
    world = World()
    world.come("holder")
    for name in ("greedy 1", "greedy 2", "greedy 3"):
        world.come(name, client="greedy")
    world.come("modest", client="modest")
    world.come("late", client="late")
    assert await world.order() == ["holder", "greedy 1", "modest", "late", "greedy 2", "greedy 3"]


async def test_who_comes_again_is_put_at_the_end() -> None:
    world = World()
    first = world.come("first", client="x")
    world.come("second", client="y")
    await settle()
    await world.finish(first)
    world.come("again", client="x")
    world.come("third", client="z")
    assert await world.order() == ["first", "second", "again", "third"]


async def test_a_higher_class_goes_first() -> None:
    world = World()
    world.come("holder")
    await settle()
    for priority in (WATCH, PAGE, PERSON):
        world.come(priority.name, priority)
    assert await world.order() == ["holder", "PERSON", "PAGE", "WATCH"]


async def test_no_class_starves() -> None:
    world = World()
    for number in range(64):
        for priority in Priority:
            world.come(f"{priority.name} {number}", priority)
    kinds = [name.split()[0] for name in await world.order()]
    assert Counter(kinds) == {"PERSON": 64, "PAGE": 64, "WATCH": 64}
    while_all_wait = kinds[: len(kinds) - kinds[::-1].index("PERSON")]  # the first person entered before anyone waited
    for kind in ("PAGE", "WATCH"):
        places = [0, *(place for place, each in enumerate(while_all_wait) if each == kind)]
        assert max(after - before for before, after in pairwise(places)) == MOST_PASSED_OVER + 2
    assert kinds[:13] == ["PERSON", *[*["PERSON"] * 4, "PAGE", "WATCH"] * 2]


async def test_a_class_is_passed_over_only_while_it_waits() -> None:
    world = World()
    for number in range(10):
        world.come(f"person {number}", PERSON)
    await settle()
    for user in world.users[:8]:  # nobody else waits, so these pass nobody over
        await world.finish(user)
    world.come("page", PAGE)
    assert await world.order() == [*(f"person {number}" for number in range(10)), "page"]


async def test_64_clients_of_each_class_hang_up_as_they_like_and_no_slot_is_lost() -> None:
    world = World(capacity=3)
    chance = random.Random(7)  # noqa: S311 - not for secrets

    async def client(priority: Priority, number: int) -> None:
        for turn in range(5):
            user = world.come(f"{priority.name} {number} {turn}", priority, f"{priority.name} {number}")
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                user.task.cancel()
            user.go.set()
            with contextlib.suppress(asyncio.CancelledError):
                await user.task

    await asyncio.gather(*(client(priority, number) for priority in Priority for number in range(64)))
    assert world.most_running["a"] == 3
    assert world.running["a"] == 0
    for name in ("one", "two", "three", "four"):
        world.come(name)
    await settle()
    assert world.running["a"] == 3
    await world.end()


async def test_the_capacity_is_used_up_and_no_more() -> None:
    world = World(capacity=2)
    users = [world.come(str(number)) for number in range(4)]
    await settle()
    assert world.admitted == ["0", "1"]
    await world.finish(users[1])
    assert world.admitted == ["0", "1", "2"]
    await world.end()


async def test_a_capacity_that_grows_admits_at_once_and_one_that_shrinks_waits() -> None:
    world = World()
    users = [world.come(str(number)) for number in range(5)]
    await settle()
    world.capacity["a"] = 3
    world.queue.refresh()
    await settle()
    assert world.admitted == ["0", "1", "2"]
    world.capacity["a"] = 0  # no plan allows nothing at all
    await world.finish(users[0])
    await world.finish(users[1])
    assert len(world.admitted) == 3
    await world.finish(users[2])
    assert world.admitted[3:] == ["3"]
    await world.end()


async def test_engines_do_not_wait_for_each_other() -> None:
    world = World()
    world.come("a 1", wants="a")
    world.come("a 2", wants="a")
    world.come("b 1", wants="b")
    await settle()
    assert world.admitted == ["a 1", "b 1"]
    await world.end()


async def test_a_client_s_requests_to_two_engines_do_not_wait_for_each_other() -> None:
    world = World()
    for name, wants in (("a 1", "a"), ("a 2", "a"), ("b 1", "b")):
        world.come(name, client="x", wants=wants)
    await settle()
    assert world.admitted == ["a 1", "b 1"]
    await world.end()


@pytest.mark.parametrize(("capacity", "early"), [(1, 1), (3, 1), (4, 2), (8, 3)])
async def test_the_engine_prepares_early_ones_while_it_answers(capacity: int, early: int) -> None:
    assert early_slots(capacity) == early
    world = World(capacity)
    for number in range(capacity + early + 2):
        world.come(str(number), PERSON, early=True)
    await settle()
    assert world.running["a"] == capacity + early
    await world.end()


async def test_a_page_waits_for_a_free_slot_and_nobody_overtakes_it() -> None:
    world = World()
    first = world.come("first", PERSON, early=True)
    await settle()
    page = world.come("page", PAGE)
    world.come("watch", WATCH, early=True)
    await settle()
    assert world.admitted == ["first"]
    page.task.cancel()
    await settle()
    assert world.admitted == ["first", "watch"]
    await world.finish(first)
    await world.end()


async def test_what_needs_no_slot_waits_for_the_engine_only() -> None:
    world = World()
    holder = world.come("holder")
    world.come("waiting")
    await settle()
    listed = world.come("list", takes_slot=False, wants="a")
    await settle()
    assert world.admitted == ["holder", "list"]
    world.up.discard("b")
    world.come("other list", takes_slot=False, wants="b")
    await settle()
    assert "other list" not in world.admitted
    world.up.add("b")
    world.queue.refresh()
    await settle()
    assert "other list" in world.admitted
    await world.finish(listed)
    assert world.running["a"] == 1
    assert "waiting" not in world.admitted
    await world.finish(holder)
    assert "waiting" in world.admitted
    await world.end()


async def test_what_needs_no_slot_does_not_change_whose_turn_it_is() -> None:
    world = World()
    holder = world.come("holder", client="h")
    world.come("x 1", client="x")
    world.come("y 1", client="y")
    await settle()
    world.come("x list", client="x", takes_slot=False)
    world.come("person list", PERSON, takes_slot=False)
    await settle()
    await world.finish(holder)
    assert world.admitted == ["holder", "x list", "person list", "x 1"]
    await world.end()


async def test_an_engine_that_is_lost_is_waited_for_and_its_successor_serves() -> None:
    world = World()
    first = world.come("first")
    world.come("second")
    await settle()
    world.up.discard("a")
    await world.finish(first)
    assert world.admitted == ["first"]
    world.up.add("a")
    world.queue.refresh()
    await settle()
    assert world.admitted == ["first", "second"]
    await world.end()


async def test_who_waits_too_long_for_an_engine_is_told_and_others_are_not() -> None:
    world = World()
    world.up.discard("a")
    hasty, patient = world.come("hasty", wait_s=0.02), world.come("patient")
    with pytest.raises(EngineUnavailableError):
        await hasty.task
    await settle()
    assert not patient.task.done()
    world.up.add("a")
    world.queue.refresh()
    await settle()
    assert world.admitted == ["patient"]
    await world.end()


async def test_only_the_time_without_an_engine_counts() -> None:
    world = World()
    world.come("holder")
    world.up.discard("a")
    waiting = world.come("waiting", wait_s=0.02)
    await settle()
    world.up.add("a")
    world.queue.refresh()
    await asyncio.sleep(0.06)
    assert not waiting.task.done()
    world.up.discard("a")
    world.queue.refresh()
    world.queue.refresh()  # this does not start the clock anew
    with pytest.raises(EngineUnavailableError):
        await asyncio.wait_for(waiting.task, 5)
    await world.end()


async def test_the_limit_is_for_all_the_time_without_an_engine_together() -> None:
    world = World()
    world.come("holder")
    await settle()
    waiting, began = world.come("waiting", wait_s=0.2), asyncio.get_running_loop().time()
    while not waiting.task.done() and asyncio.get_running_loop().time() - began < 5:
        for up in (False, True):  # the engine is lost again and again, each time for less than the limit
            (world.up.add if up else world.up.discard)("a")
            world.queue.refresh()
            await asyncio.sleep(0 if up else 0.05)
    with pytest.raises(EngineUnavailableError):
        await asyncio.wait_for(waiting.task, 5)
    await world.end()


async def test_a_second_admission_has_only_the_rest_of_the_time() -> None:
    queue, loop = Queue[str](lambda _: 1), asyncio.get_running_loop()
    world = World()
    ticket = Ticket[str](Wants(world, "a"), PERSON, "client", wait_limit=WaitLimit(0.3))
    world.up.discard("a")
    first = asyncio.ensure_future(_enter(queue, ticket))
    await asyncio.sleep(0.2)
    world.up.add("a")
    queue.refresh()
    await first
    world.up.discard("a")
    again = loop.time()
    with pytest.raises(EngineUnavailableError):
        await _enter(queue, ticket)
    assert loop.time() - again < 0.25


async def _enter(queue: Queue[str], ticket: Ticket[str]) -> None:
    async with queue.admit(ticket):
        pass


async def test_an_error_of_the_way_to_one_engine_is_told_to_those_who_go_there() -> None:
    world = World()
    world.up.discard("a")
    lost, kept = world.come("lost", wants="a"), world.come("kept", wants="b")
    await settle()
    world.refused["a"] = ModelNotFoundError("serve.nothing_served")
    world.queue.refresh()
    with pytest.raises(ModelNotFoundError):
        await lost.task
    assert not kept.task.done()
    await world.end()


async def test_the_queue_of_a_class_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MOST_WAITING", 3)
    world = World()
    for number in range(4):  # one of them holds the slot
        world.come(str(number))
    await settle()
    sent_away = world.come("too many")
    with pytest.raises(EngineUnavailableError, match="3 requests are waiting"):
        await sent_away.task
    world.come("person", PERSON)
    assert await world.order() == ["0", "person", "1", "2", "3"]


async def test_who_can_enter_at_once_does_so_past_a_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MOST_WAITING", 1)
    world = World()
    world.come("holder")
    world.come("waiting")
    world.come("elsewhere", wants="b")
    await settle()
    assert world.admitted == ["holder", "elsewhere"]
    await world.end()


async def test_who_is_cancelled_in_the_moment_of_entering_gives_the_slot_back() -> None:
    world = World()
    holder, unlucky, lucky = (world.come(name) for name in ("holder", "unlucky", "lucky"))
    await settle()
    holder.go.set()
    while world.running["a"]:  # noqa: ASYNC110 - to the very step of the loop
        await asyncio.sleep(0)
    unlucky.task.cancel()
    await settle()
    assert world.admitted == ["holder", "lucky"]
    assert unlucky.task.cancelled()
    await world.finish(lucky)
    assert world.running["a"] == 0
    await world.end()


async def test_who_hangs_up_and_is_not_yet_away_is_passed_by() -> None:
    world = World()
    holder, leaving, staying = (world.come(name) for name in ("holder", "leaving", "staying"))
    await settle()
    leaving.task.cancel()
    world.queue.refresh()
    await world.finish(holder)
    assert world.admitted == ["holder", "staying"]
    await world.finish(staying)


async def test_a_queue_that_closes_sends_everyone_away() -> None:
    world = World()
    holder, waiting = world.come("holder"), world.come("waiting")
    await settle()
    world.queue.close()
    late = world.come("late")
    for user in (waiting, late):
        with pytest.raises(EngineUnavailableError, match="stopping"):
            await user.task
    await world.finish(holder)


STEPS = st.one_of(
    st.tuples(
        st.just("come"),
        st.sampled_from(Priority),
        st.sampled_from("wxyz"),
        st.sampled_from("ab"),
        st.booleans(),
        st.sampled_from([True, True, True, False]),
    ),
    st.tuples(st.sampled_from(["finish", "cancel"]), st.integers(0, 40)),
    st.tuples(st.just("capacity"), st.sampled_from("ab"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["up", "down"]), st.sampled_from("ab")),
)


@given(st.lists(STEPS, max_size=60))
def test_whatever_happens_slots_are_neither_lost_nor_given_twice(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[Any, ...]]) -> None:
    world = World(capacity=2)
    for step in steps:
        _do(world, *step)
        await settle()
        for engine in world.up:
            waiting = [user for user in world.users if not user.task.done() and user.name not in world.admitted]
            if any(user.ticket.destination.engine() == engine and user.ticket.takes_slot for user in waiting):
                assert world.running[engine] >= world.capacity[engine]  # nobody waits beside a free slot
    world.up = {"a", "b"}
    world.queue.refresh()
    for user in world.users:
        user.go.set()
    await asyncio.gather(*(user.task for user in world.users), return_exceptions=True)
    for user in world.users:
        assert user.task.cancelled() or (user.task.exception() is None and world.admitted.count(user.name) == 1)
    assert not +world.running
    _assert_own_order(world)


def _do(world: World, kind: str, *values: Any) -> None:
    if kind == "come":
        priority, client, wants, early, takes_slot = values
        world.come(str(len(world.users)), priority, client, wants, takes_slot, early)
    elif kind in ("finish", "cancel"):
        if world.users:
            user = world.users[values[0] % len(world.users)]
            if kind == "cancel":
                user.task.cancel()
            elif user.name in world.admitted:
                user.go.set()
    elif kind == "capacity":
        world.capacity[values[0]] = values[1]
        world.queue.refresh()
    else:
        (world.up.add if kind == "up" else world.up.discard)(values[0])
        world.queue.refresh()


def _assert_own_order(world: World) -> None:
    """What one client asks of one engine in one class is admitted in the order in which it was asked."""
    of: dict[tuple[object, ...], list[int]] = {}
    users = {user.name: user for user in world.users}
    for name in world.admitted:
        ticket = users[name].ticket
        if ticket.takes_slot:
            key = (ticket.priority, ticket.client, ticket.destination)
            of.setdefault(key, []).append(int(name))
    assert all(names == sorted(names) for names in of.values())
