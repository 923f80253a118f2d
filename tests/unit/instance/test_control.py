"""The client of a running vedette, against a real server that answers as one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vedette.engine.state import Phase, State, Status
from vedette.errors import DoesNotFitError, NotRunningError, RemoteError
from vedette.events import Event, ModelStatus, ServiceStatus, StatusChanged, status_json
from vedette.instance import control
from vedette.instance.control import Way, read_status, swap

Answer = Callable[[web.Request], Any]
LOADING = Status(State.STARTING, Phase.LOADING, done=1, total=2)
REFUSAL = DoesNotFitError("cli.no_log", path="/x")


class Vedette:
    """Answers with what a test puts here."""

    status: Any = None
    swap: Any = None
    asked: Any = None
    key: str | None = None
    url = ""

    async def answer_status(self, _: web.Request) -> web.Response:
        return web.json_response(self.status)

    async def answer_swap(self, request: web.Request) -> web.Response:
        self.key = request.headers.get("Authorization")
        self.asked = await request.json()
        await asyncio.sleep(0.2)  # for the client to see the status meanwhile
        assert request.transport is not None
        if self.swap is None:
            request.transport.close()
        return web.json_response(self.swap)


@pytest.fixture
async def vedette() -> AsyncIterator[Vedette]:
    made, app = Vedette(), web.Application()
    app.add_routes([web.get("/api/status", made.answer_status), web.post("/api/swap", made.answer_swap)])
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


def status(next_model: str | None, now: Status = LOADING) -> dict[str, Any]:
    return status_json(ServiceStatus((ModelStatus(now, "one", next_model, "http://h/", "http://h/v1"),)))


async def test_a_status_is_read_as_a_value(vedette: Vedette) -> None:
    vedette.status = status("two")
    found = await read_status(Way(vedette.url))
    assert found is not None
    assert found.models[0].next_model == "two"
    assert found.models[0].status == LOADING


@pytest.mark.parametrize("other", [None, [], "text", {}, {"models": 3}, {"models": [{"state": "dancing"}]}])
async def test_what_is_no_vedette_has_no_status(vedette: Vedette, other: object) -> None:
    vedette.status = other
    assert await read_status(Way(vedette.url)) is None


async def test_nothing_there_has_no_status() -> None:
    assert await read_status(Way("http://127.0.0.1:1")) is None


async def test_a_swap_tells_each_step_once_and_returns_the_answer(
    vedette: Vedette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_LOOK_EVERY_S", 0.01)
    vedette.status, vedette.swap = status("two"), {"model": "two", "elapsed_ms": 5}
    seen: list[Event] = []
    assert await swap(Way(vedette.url, "the key"), "two", None, seen.append) == {"model": "two", "elapsed_ms": 5}
    assert vedette.asked == {"model": "two", "replace": None}
    assert vedette.key == "Bearer the key"
    assert [event.status for event in seen if isinstance(event, StatusChanged)] == [LOADING]


async def test_a_refusal_is_told_as_it_came(vedette: Vedette) -> None:
    vedette.swap = {"error": REFUSAL.as_json()}
    with pytest.raises(RemoteError) as refused:
        await swap(Way(vedette.url, "the key"), "two", "one")
    assert refused.value.as_json() == REFUSAL.as_json()
    assert refused.value.sentence == REFUSAL.sentence


async def test_a_vedette_that_goes_away_is_said_so(vedette: Vedette) -> None:
    with pytest.raises(NotRunningError, match="stopped before it answered"):
        await swap(Way(vedette.url, "the key"), "two", None)
