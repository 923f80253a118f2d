"""The table of addresses, the OpenAPI document, and what the app really answers."""

import json
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.rig.stand_ins.app_stand_in import Deployment, Fleet
from vedette.engine.state import Phase, State
from vedette.engine.vllm.causes import KERNEL_KILL
from vedette.language.chinese import CHINESE
from vedette.language.english import ENGLISH
from vedette.language.message import Message
from vedette.serve.api.endpoints import ENDPOINTS
from vedette.serve.api.openapi import openapi_document, plain_path
from vedette.serve.app import create_app
from vedette.serve.documents import Health, StatusDocument


class Strict(StatusDocument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A status without anything that is not documented."""


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        return (
            {value["$ref"]} | references({**value, "$ref": None})
            if value.get("$ref")
            else {found for each in value.values() for found in references(each)}
        )
    return {found for each in value for found in references(each)} if isinstance(value, list) else set()


async def test_every_route_of_the_app_is_in_the_table_and_the_document(fleet: Fleet) -> None:
    app = create_app(fleet)
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert served == {(each.method, plain_path(each.path)) for each in ENDPOINTS}
    paths = openapi_document()["paths"]
    assert set(paths) == {path for _, path in served}
    assert {method.upper() for path in paths.values() for method in path} <= {"GET", "POST", "DELETE"}


def test_the_document_is_complete_in_itself() -> None:
    document = openapi_document()
    schemas = document["components"]["schemas"]
    assert references(document) == {f"#/components/schemas/{name}" for name in schemas}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] and operation["responses"] for operation in operations)
    assert document["openapi"].startswith("3.1")
    json.dumps(document)


async def test_the_document_is_served(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/openapi.json") as answer:
        assert answer.content_type == "application/json"
        assert await answer.json() == json.loads(json.dumps(openapi_document()))


@pytest.mark.parametrize(
    "enter",
    [
        {"state": State.READY},
        {"state": State.STARTING, "phase": Phase.LOADING, "detail": Message("serve.fault"), "done": 3, "total": 7},
        {"state": State.FAILED, "cause": KERNEL_KILL},
    ],
    ids=lambda enter: str(enter["state"].value),
)
async def test_a_status_has_the_documented_form(
    http: aiohttp.ClientSession, url: str, deployment: Deployment, enter: dict[str, Any]
) -> None:
    deployment.enter(**enter)
    async with http.get(f"{url}/api/status") as answer:
        sent = await answer.json()
    assert msgspec.convert(sent, Strict).state is enter["state"]
    async with http.get(f"{url}/healthz") as answer:
        health = msgspec.json.decode(await answer.text(), type=Health)
    assert (health.reason is None) is (enter["state"] is State.READY)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"state": State.PREPARING}, "The engine is not ready: preparing."),
        ({"state": State.PREPARING, "phase": Phase.PLANNING}, "The engine is not ready: preparing, planning."),
        (
            {"state": State.STARTING, "phase": Phase.LOADING, "done": 3, "total": 7},
            "The engine is not ready: starting, loading weights 3/7.",
        ),
        (
            {"state": State.PREPARING, "phase": Phase.FETCHING, "done": 2**30, "total": 2**31},
            "The engine is not ready: preparing, fetching model (1.00 GiB of 2.00 GiB).",
        ),
        ({"state": State.FAILED, "cause": KERNEL_KILL}, f"The engine is not ready. {KERNEL_KILL.sentence}"),
    ],
)
async def test_an_engine_that_is_not_ready_is_described(
    http: aiohttp.ClientSession, url: str, deployment: Deployment, status: dict[str, Any], reason: str
) -> None:
    deployment.enter(**status)
    async with http.get(f"{url}/healthz") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert (await answer.json())["reason"] == reason


@pytest.mark.parametrize(("name", "table"), [("en", ENGLISH), ("zh", CHINESE)])
async def test_the_sentences_are_served_and_kept_until_they_change(
    http: aiohttp.ClientSession, url: str, name: str, table: dict[str, Any]
) -> None:
    async with http.get(f"{url}/api/language/{name}") as answer:
        assert await answer.json() == json.loads(json.dumps(table))
        tag = answer.headers["ETag"]
    async with http.get(f"{url}/api/language/{name}", headers={"If-None-Match": tag}) as again:
        assert again.status == 304
    async with http.get(f"{url}/api/language/fr") as answer:
        assert answer.status == 404
