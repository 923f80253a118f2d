"""Every error as an HTTP answer."""

import json
from collections.abc import Iterator
from http import HTTPStatus

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tests.rig.stand_ins.app_stand_in import OWNER, Fleet, Serve
from vedette import errors
from vedette.errors import Cause, EngineDiedError, FaultError, RemoteError, VedetteError
from vedette.language.message import Message
from vedette.serve.app import create_app
from vedette.serve.documents import OpenAiProblem, Problem
from vedette.serve.http_errors import STATUS, status_of


def kinds(base: type[VedetteError] = VedetteError) -> Iterator[type[VedetteError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


KINDS = list(kinds())


def one(kind: type[VedetteError]) -> VedetteError:
    """An error of that class."""
    if issubclass(kind, EngineDiedError):
        return kind(Cause("engine_failed", Message("serve.fault")))
    if issubclass(kind, RemoteError):
        return kind({"sentence": "It failed.", "hint": "Wait."})
    return kind("serve.fault")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_500_is_left_to_bugs(kind: type[VedetteError]) -> None:
    assert any(each in STATUS for each in kind.__mro__)
    assert (status_of(one(kind)) == HTTPStatus.INTERNAL_SERVER_ERROR) is issubclass(kind, FaultError)


def test_every_error_class_stands_in_the_one_module() -> None:
    assert {kind.__module__ for kind in kinds()} == {errors.__name__}
    assert set(STATUS) <= set(kinds())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_swap_that_fails_is_answered_by_the_table(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, kind: type[VedetteError]
) -> None:
    error = one(kind)

    async def fail(_: str) -> None:
        raise error

    fleet.on_swap = fail
    async with http.post(f"{url}/api/swap", json={"model": "other"}, headers=OWNER) as answer:
        assert answer.status == status_of(error)
        assert ("Retry-After" in answer.headers) is kind.retryable
        text = await answer.text()
    if kind is not RemoteError:
        msgspec.json.decode(text, type=Problem, strict=True)
    assert json.loads(text)["error"]["sentence"] == error.sentence


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind is not RemoteError], ids=lambda kind: kind.__name__)
async def test_under_v1_errors_have_openai_s_shape(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, kind: type[VedetteError]
) -> None:
    error = one(kind)

    async def fail(_: str) -> None:
        raise error

    fleet.names, fleet.allow_swap, fleet.on_swap = ["other"], True, fail
    async with http.post(f"{url}/v1/chat/completions", json={"model": "other", "messages": []}) as answer:
        assert answer.status == status_of(error)
        assert ("Retry-After" in answer.headers) is kind.retryable
        problem = msgspec.json.decode(await answer.text(), type=OpenAiProblem)
    assert problem.error.message == f"{error.sentence} {error.hint}".strip()
    assert problem.error.detail.code == error.message.code
    assert (problem.error.type == "server_error") is (answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR)


@pytest.mark.parametrize("path", ["/api/broken", "/v1/broken"])
async def test_a_bug_has_the_same_shape_as_any_error(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, path: str
) -> None:
    async def broken(request: web.Request) -> web.Response:
        raise ZeroDivisionError("secret detail")

    app = web.Application(middlewares=create_app(fleet).middlewares)
    app.router.add_get(path, broken)
    url, _ = await serve(app)
    async with http.get(f"{url}{path}") as answer:
        assert answer.status == HTTPStatus.INTERNAL_SERVER_ERROR
        assert "Retry-After" not in answer.headers
        kind = OpenAiProblem if path.startswith("/v1") else Problem
        assert "secret" not in str(msgspec.json.decode(await answer.text(), type=kind))


async def test_a_method_that_an_address_does_not_have_is_405_with_those_it_has(
    http: aiohttp.ClientSession, url: str
) -> None:
    async with http.put(f"{url}/api/swap") as answer:
        assert answer.status == HTTPStatus.METHOD_NOT_ALLOWED
        assert answer.headers["Allow"] == "POST"
        assert msgspec.json.decode(await answer.text(), type=Problem).error.message.code == "serve.wrong_method"
