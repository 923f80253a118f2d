"""Limits and use of clients: the arithmetic with a clock of the test's, and the real app."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig.stand_ins.app_stand_in import OWNER, Deployment, Fleet, Serve, Upstream, access_of
from vedette.engine.state import State
from vedette.errors import TooManyRequestsError
from vedette.files import write_whole
from vedette.serve.access import usage_book
from vedette.serve.access.accounts import Accounts, ClientLimits
from vedette.serve.access.key_file import KeyFile
from vedette.serve.access.principal import Principal, Role
from vedette.serve.access.token_count import TokenCount
from vedette.serve.access.usage_book import WITHOUT_KEY, UsageBook, read_usage
from vedette.serve.app import create_app

CHAT = {"model": "vedette-tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
ANNA, BERTA = Principal(Role.USE, "key anna", "anna"), Principal(Role.USE, "key berta", "berta")
OWN = Principal(Role.OWNER, "owner", "owner")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_is_used_up_and_fills_again_evenly() -> None:
    clock = Clock()
    accounts = Accounts(ClientLimits(requests_per_minute=6), clock=clock)
    for _ in range(6):
        accounts.take(ANNA)
    with pytest.raises(TooManyRequestsError) as refused:
        accounts.take(ANNA)
    assert refused.value.message.params["wait_s"] == pytest.approx(10)
    accounts.take(BERTA)
    clock.now += 10
    accounts.take(ANNA)
    with pytest.raises(TooManyRequestsError):
        accounts.take(ANNA)
    clock.now += 1000
    for _ in range(6):
        accounts.take(ANNA)
    with pytest.raises(TooManyRequestsError):
        accounts.take(ANNA)


def test_tokens_beyond_the_budget_are_paid_off_before_the_next_request() -> None:
    clock = Clock()
    accounts = Accounts(ClientLimits(tokens_per_minute=600), clock=clock)
    accounts.take(ANNA)
    accounts.spend(ANNA, 500, 1000)
    with pytest.raises(TooManyRequestsError, match="600 tokens") as refused:
        accounts.take(ANNA)
    wait_s = refused.value.message.params["wait_s"]
    assert wait_s == pytest.approx(90, abs=1)
    clock.now += wait_s - 1
    with pytest.raises(TooManyRequestsError):
        accounts.take(ANNA)
    clock.now += 1.1
    accounts.take(ANNA)


def test_requests_at_once_are_counted_until_they_end() -> None:
    accounts = Accounts(ClientLimits(requests_at_once=2))
    with accounts.hold(ANNA), accounts.hold(ANNA):
        with pytest.raises(TooManyRequestsError), accounts.hold(ANNA):
            pass
        with accounts.hold(BERTA), accounts.hold(OWN), accounts.hold(OWN), accounts.hold(OWN):
            pass
    with accounts.hold(ANNA):
        pass


def test_the_owner_is_counted_and_not_limited() -> None:
    accounts = Accounts(ClientLimits(1, 1, 1))
    for _ in range(5):
        accounts.take(OWN)
        accounts.spend(OWN, 10, 10)


def test_many_addresses_fill_no_memory_and_those_in_flight_are_kept() -> None:
    clock = Clock()
    accounts = Accounts(ClientLimits(requests_at_once=1), clock=clock)
    with accounts.hold(ANNA):
        for number in range(20_000):
            clock.now += 0.001
            accounts.take(Principal(Role.USE, f"address {number}"))
        assert len(accounts._budgets) <= 4096
        with pytest.raises(TooManyRequestsError), accounts.hold(ANNA):
            pass


@given(
    st.lists(st.sampled_from(["take", "spend", "wait"]), max_size=60),
    st.integers(1, 20),
)
def test_nobody_ever_gets_more_than_a_minutes_and_the_times_share(steps: list[str], most: int) -> None:
    clock = Clock()
    accounts = Accounts(ClientLimits(requests_per_minute=most), clock=clock)
    admitted, began = 0, clock.now
    for step in steps:
        if step == "wait":
            clock.now += 3
        elif step == "take":
            with suppress(TooManyRequestsError):
                accounts.take(ANNA)
                admitted += 1
        assert admitted <= most + (clock.now - began) * most / 60 + 1e-6


# Tokens of what passes


@pytest.mark.parametrize(
    ("chunks", "tokens"),
    [
        ([b'{"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'], (9, 2)),
        ([b'{"usage": {"input_tokens": 9, "out', b'put_tokens": 2}}'], (9, 2)),
        ([b'data: {"choices":[]}\n\n'] * 5 + [b"data: [DONE]\n\n"], (0, 5)),
        (
            [
                b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
                b'data: {"choices":[],"usage":{"prompt_tokens":70,"completion_tokens":33}}\n\ndata: [DONE]\n\n',
            ],
            (70, 33),
        ),
        ([b"x" * 100_000, b'"prompt_tokens": 1, "completion_tokens": 4}'], (1, 4)),
        ([], (0, 0)),
    ],
)
def test_tokens_are_read_from_the_end_of_an_answer(chunks: list[bytes], tokens: tuple[int, int]) -> None:
    count = TokenCount()
    for chunk in chunks:
        count.feed(chunk)
    assert count.result() == tokens


def test_the_book_is_kept_in_a_file(tmp_path: Path) -> None:
    book = UsageBook(tmp_path)
    book.note("anna", requests=2, prompt_tokens=30, answer_tokens=4)
    book.note(None, refused=1)
    book.save()
    again = UsageBook(tmp_path)
    again.note("anna", requests=1)
    again.save()
    used = read_usage(tmp_path)
    assert (used["anna"].requests, used["anna"].prompt_tokens, used["anna"].answer_tokens) == (3, 30, 4)
    assert used[WITHOUT_KEY].refused == 1
    (tmp_path / "usage.json").write_text("junk")
    assert read_usage(tmp_path) == {}


# The real app


async def test_an_answer_is_charged_to_its_key(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, tmp_path: Path
) -> None:
    directory = tmp_path / "access"
    key = KeyFile(directory).add("anna", "use")
    url, runner = await serve(create_app(fleet, access=access_of(directory)))
    for headers in ({"x-api-key": key}, OWNER, {}):
        async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers) as answer:
            await answer.read()
    async with http.ws_connect(f"{url}/api/live", headers={"x-api-key": key}) as socket:
        await socket.send_json({"type": "start", "source": "none", "prompt": "What?", "max_tokens": 5, "once": True})
        while (await asyncio.wait_for(socket.receive_json(), 5))["type"] != "stopped":
            pass
    await runner.cleanup()
    used = read_usage(directory)
    assert (used["anna"].requests, used["anna"].prompt_tokens, used["anna"].answer_tokens) == (2, 180, 6)
    assert used["owner"].requests == used[WITHOUT_KEY].requests == 1


async def test_too_many_requests_are_429_and_say_when(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, tmp_path: Path, upstream: Upstream
) -> None:
    limits = ClientLimits(requests_per_minute=2)
    url, _ = await serve(create_app(fleet, access=access_of(tmp_path / "access", limits=limits)))
    statuses, left = [], []
    for number in range(4):  # made-up keys are no clients of their own
        headers = {"Authorization": f"Bearer made-up-{number}"}
        async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers) as answer:
            statuses.append(answer.status)
            left.append(answer.headers["x-ratelimit-remaining-requests"])
            if answer.status == 429:
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
                assert (await answer.json())["error"]["code"] == "too_many_requests"
    assert statuses == [200, 200, 429, 429]
    assert left == ["1", "0", "0", "0"]
    assert len(upstream.bodies) == 2
    async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers=OWNER) as answer:
        assert answer.status == 200
    async with http.get(f"{url}/api/status") as answer:
        assert answer.status == 200


async def test_too_many_at_once_are_429_and_others_are_served(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, tmp_path: Path, upstream: Upstream
) -> None:
    directory = tmp_path / "access"
    key = KeyFile(directory).add("anna", "use")
    url, _ = await serve(create_app(fleet, access=access_of(directory, limits=ClientLimits(requests_at_once=1))))
    upstream.held = asyncio.Event()
    async with http.post(f"{url}/v1/chat/completions", json=CHAT) as first:
        await first.content.readline()
        async with http.post(f"{url}/v1/chat/completions", json=CHAT) as second:
            assert second.status == 429
        upstream.held.set()
        async with http.post(f"{url}/v1/chat/completions", json=CHAT, headers={"x-api-key": key}) as other:
            assert other.status == 200
            await other.read()
        await first.read()
    async with http.post(f"{url}/v1/chat/completions", json=CHAT) as again:
        assert again.status == 200


async def test_a_page_whose_key_is_revoked_sees_nothing_more(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, tmp_path: Path, deployment: Deployment
) -> None:
    file = KeyFile(tmp_path / "access")
    key = file.add("anna", "look")
    url, _ = await serve(create_app(fleet, access=access_of(tmp_path / "access", Role.NOBODY)))
    async with http.ws_connect(f"{url}/api/live", headers={"x-api-key": key}) as socket:
        assert (await asyncio.wait_for(socket.receive_json(), 5))["type"] == "status"
        file.revoke("anna")
        deployment.enter(State.DRAINING)
        assert (await asyncio.wait_for(socket.receive_json(), 5))["code"] == "unauthorized"
        assert (await asyncio.wait_for(socket.receive(), 5)).type is aiohttp.WSMsgType.CLOSE


def test_what_is_counted_while_the_file_is_written_is_in_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = UsageBook(tmp_path)

    def write(path: Path, content: bytes) -> None:
        write_whole(path, content)
        book.note("anna", requests=1)

    book.note("anna", requests=1)
    with monkeypatch.context() as patched:
        patched.setattr(usage_book, "write_whole", write)
        book.save()
    assert read_usage(tmp_path)["anna"].requests == 1
    book.save()
    assert read_usage(tmp_path)["anna"].requests == 2


@pytest.mark.parametrize("made_anew", [False, True])
async def test_a_page_whose_key_is_revoked_asks_nothing_more(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, tmp_path: Path, upstream: Upstream, made_anew: bool
) -> None:
    file = KeyFile(tmp_path / "access")
    key = file.add("anna", "use")
    url, _ = await serve(create_app(fleet, access=access_of(tmp_path / "access")))
    async with http.ws_connect(f"{url}/api/live", headers={"x-api-key": key}) as socket:
        await asyncio.wait_for(socket.receive_json(), 5)
        file.revoke("anna")
        if made_anew:
            file.add("anna", "use")
        await socket.send_json({"type": "start", "source": "none", "prompt": "What?", "max_tokens": 5})
        assert (await asyncio.wait_for(socket.receive_json(), 5))["code"] == "unauthorized"
        assert (await asyncio.wait_for(socket.receive(), 5)).type is aiohttp.WSMsgType.CLOSE
    assert not upstream.bodies
