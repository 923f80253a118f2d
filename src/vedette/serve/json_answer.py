"""JSON answers out of values."""

from http import HTTPStatus

import msgspec
from aiohttp import web


def json_answer(
    value: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> web.Response:
    """The value as an answer that nobody keeps: it is true of this moment."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"} | (headers or {}),
    )
