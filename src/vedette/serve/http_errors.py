"""Errors as HTTP answers: the one place where the app renders them."""

import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from vedette.errors import (
    BadInputError,
    DoesNotFitError,
    EngineUnavailableError,
    ForbiddenError,
    ModelNotFoundError,
    NoSuchPageError,
    RequestRefusedError,
    SwapFailedError,
    TooLargeError,
    VedetteError,
)

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
"""What a caller is told to wait for an engine that is starting."""


_STATUS: dict[type[VedetteError], HTTPStatus] = {
    BadInputError: HTTPStatus.BAD_REQUEST,
    DoesNotFitError: HTTPStatus.CONFLICT,
    EngineUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    ModelNotFoundError: HTTPStatus.NOT_FOUND,
    NoSuchPageError: HTTPStatus.NOT_FOUND,
    RequestRefusedError: HTTPStatus.BAD_REQUEST,
    SwapFailedError: HTTPStatus.CONFLICT,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


_BEGUN = web.RequestKey("begun", bool)


@web.middleware
async def render_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns whatever a handler raises into JSON, unless an answer has begun already."""
    try:
        return await handler(request)
    except VedetteError as error:
        return _answer(request, error, _status_of(error))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _answer(request, _of_http(error), HTTPStatus(error.status), error.headers.get("Allow"))
    except ConnectionError:
        raise  # the caller is gone: nobody to tell
    except Exception:
        log.exception("Fault in vedette while answering %s %s", request.method, request.path)
        if begun(request):
            raise
        fault = VedetteError("vedette met a fault of its own.", "Its log has the details; please report it.")
        return _answer(request, fault, HTTPStatus.INTERNAL_SERVER_ERROR)


def mark_begun(request: web.Request) -> None:
    """Notes that the answer's first bytes are out: from here on no other answer can be given."""
    request[_BEGUN] = True


def begun(request: web.Request) -> bool:
    return bool(request.get(_BEGUN))


def openai_json(error: VedetteError) -> dict[str, object]:
    """The error in OpenAI's shape, as its client libraries expect it."""
    status = _status_of(error)
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    message = f"{error.sentence} {error.hint}"
    return {"error": {"message": message, "type": kind, "param": None, "code": error.code}}


def _answer(request: web.Request, error: VedetteError, status: HTTPStatus, allow: str | None = None) -> web.Response:
    body = openai_json(error) if request.path.startswith("/v1") else {"error": error.as_json()}
    headers = {"Allow": allow} if allow else {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return web.json_response(body, status=status, headers=headers, dumps=_dumps)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _status_of(error: VedetteError) -> HTTPStatus:
    known = (_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    return next(known, HTTPStatus.INTERNAL_SERVER_ERROR)


def _of_http(error: web.HTTPException) -> VedetteError:
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLargeError("The request is too large.", "Send less.")
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return NoSuchPageError("This address cannot be asked that way.", "Use a method of its Allow header.")
    if error.status == HTTPStatus.NOT_FOUND:
        return NoSuchPageError("There is nothing at this address.", "The live page is at /, the API at /v1.")
    return BadInputError(f"The request cannot be answered ({error.status} {error.reason}).", "Correct it.")
