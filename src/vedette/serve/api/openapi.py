"""`/openapi.json`: the table of addresses as an OpenAPI 3.1 document."""

import ast
import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from types import ModuleType
from typing import Any

import msgspec

from vedette import __version__
from vedette.serve import documents
from vedette.serve.access import browser_login
from vedette.serve.access.doorman import LIMITED
from vedette.serve.access.principal import Role
from vedette.serve.api import served_models
from vedette.serve.api.endpoints import ENDPOINTS, Endpoint, Parameter
from vedette.serve.documents import OpenAiProblem, Problem
from vedette.serve.live import messages

_REFERENCE = "#/components/schemas/{name}"
OTHER_SITE = "The Host header is not a name of vedette's, or a page of another site sends the request."
WITHOUT_KEY = "The address needs a key, and the request has none, or one that is not known."
TOO_MANY = "The client has used up its limits; `Retry-After` says when to try again."
_ANY_METHOD = ("get", "post", "delete")
"""The methods under which an address that takes any is described: those that the engine has."""


_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
"""How programs send a key."""


def openapi_document() -> dict[str, Any]:
    """The document; the same every time."""
    types = list(_types())
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    for module in (documents, messages, served_models, browser_login):
        _describe_fields(components, module)
    # A type may be no key (a union, a mapping), so each is found by its place.
    found = [(each, schema) for each, schema in zip(types, schemas, strict=True)]
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        for method in _ANY_METHOD if endpoint.method == "*" else (endpoint.method.lower(),):
            paths.setdefault(plain_path(endpoint.path), {})[method] = _operation(endpoint, method, found)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vedette",
            "version": __version__,
            "description": "A vision-language or language model on a small machine: live page and API on one port.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _KEYS},
    }


def plain_path(path: str) -> str:
    """A router's path as OpenAPI writes it: `/v1/{path}` for `/v1/{path:.*}`."""
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path)


def problem_of(endpoint: Endpoint) -> type:
    """The shape of an endpoint's errors."""
    return OpenAiProblem if endpoint.path.startswith("/v1") else Problem


def _types() -> Iterable[Any]:
    yield Problem
    yield OpenAiProblem
    for endpoint in ENDPOINTS:
        yield from (endpoint.request,) if endpoint.request is not None else ()
        yield from (endpoint.answer,) if _is_type(endpoint.answer) else ()
        yield from endpoint.socket or ()


def _describe_fields(components: dict[str, Any], module: ModuleType) -> None:
    """Take the descriptions of fields from the docstrings below them in the source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = found[node.name] = {}
        for base in node.bases:
            fields.update(found.get(ast.unparse(base), {}))
        for statement, following in zip(node.body, node.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                fields[ast.unparse(statement.target)] = inspect.cleandoc(ast.literal_eval(following.value))
        for name, description in fields.items():
            if node.name in components:
                components[node.name]["properties"][name]["description"] = description


def _is_type(answer: Any) -> bool:
    return answer is not None and not isinstance(answer, str)


def _operation(endpoint: Endpoint, method: str, found: list[tuple[Any, Any]]) -> dict[str, Any]:
    def schema(kind: Any) -> Any:
        return next(schema for each, schema in found if each == kind)

    suffix = f"_{method}" if endpoint.method == "*" else ""
    operation: dict[str, Any] = {"operationId": f"{endpoint.name}{suffix}", "summary": endpoint.summary}
    if endpoint.about:
        operation["description"] = endpoint.about
    if endpoint.parameters:
        operation["parameters"] = [_parameter(each) for each in endpoint.parameters]
    if endpoint.request is not None:
        content = {"application/json": {"schema": schema(endpoint.request)}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _responses(endpoint, schema)
    operation["x-role"] = endpoint.needs.name.lower()
    if endpoint.needs > Role.NOBODY:  # without a key, where its owner leaves that open
        operation["security"] = [*({name: []} for name in _KEYS), {}]
    if endpoint.socket is not None:
        client, server = map(schema, endpoint.socket)
        operation["x-websocket"] = {"client": client, "server": server}
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "string"} | ({"enum": list(parameter.values)} if parameter.values else {})
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.about,
        "schema": schema,
    }


def _responses(endpoint: Endpoint, schema: Any) -> dict[str, Any]:
    if endpoint.socket is not None:
        responses: dict[str, Any] = {"101": {"description": "The connection is a WebSocket from here on."}}
    elif endpoint.answer is None:
        responses = {"204": {"description": "The request succeeded; the answer is empty."}}
    else:
        responses = {"200": {"description": "The request succeeded.", "content": _content(endpoint.answer, schema)}}
    for status, about in sorted(endpoint.statuses.items()):
        # The health check has one shape for both of its answers.
        kind = endpoint.answer if endpoint.name == "healthz" else problem_of(endpoint)
        responses[str(status.value)] = {"description": about, "content": _content(kind, schema)}
    if HTTPStatus.FORBIDDEN not in endpoint.statuses:
        responses["403"] = {"description": OTHER_SITE, "content": _content(problem_of(endpoint), schema)}
    if HTTPStatus.UNAUTHORIZED not in endpoint.statuses and endpoint.needs > Role.NOBODY:
        responses["401"] = {"description": WITHOUT_KEY, "content": _content(problem_of(endpoint), schema)}
    if endpoint.name in LIMITED:
        responses["429"] = {"description": TOO_MANY, "content": _content(problem_of(endpoint), schema)}
    if endpoint.method == "*":
        responses["404"]["content"] = _content("*/*", schema)
        responses["default"] = {"description": "The engine's own answer.", "content": _content("*/*", schema)}
    return responses


def _content(answer: Any, schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema(answer)}} if _is_type(answer) else {answer: {}}
