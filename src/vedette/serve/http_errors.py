"""Errors as HTTP answers: the one place where the app shows them, and the one table of their statuses."""

import json
import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from vedette.errors import (
    AlreadyRunningError,
    BadInputError,
    ConfigError,
    CostlyRequestError,
    DeviceError,
    DiskFullError,
    DoesNotFitError,
    EngineAnswerError,
    EngineFailedError,
    EngineInstallError,
    EngineUnavailableError,
    EngineVersionError,
    FaultError,
    FileAccessError,
    ForbiddenError,
    ModelCorruptError,
    ModelNotFoundError,
    NoSuchPageError,
    NotRunningError,
    OverloadedError,
    PortInUseError,
    RemoteError,
    RequestRefusedError,
    ServiceError,
    SwapFailedError,
    TooLargeError,
    TooManyRequestsError,
    TooSlowError,
    UnauthorizedError,
    VedetteError,
)
from vedette.language.foreign_text import plain
from vedette.language.message import message_json
from vedette.serve.access.principal import Role, principal_of
from vedette.serve.access.redaction import without_places

log = logging.getLogger(__name__)
mistakes = log.getChild("mistakes")
"""Of callers; apart from faults of vedette's own, so that they leave room for those."""

RETRY_AFTER_S = 5
"""The wait before a client repeats a request that may succeed later."""

STATUS: dict[type[VedetteError], HTTPStatus] = {
    # The request is wrong.
    BadInputError: HTTPStatus.BAD_REQUEST,
    RequestRefusedError: HTTPStatus.BAD_REQUEST,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    CostlyRequestError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NoSuchPageError: HTTPStatus.NOT_FOUND,
    ModelNotFoundError: HTTPStatus.NOT_FOUND,
    # What it names cannot be used.
    ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ModelCorruptError: HTTPStatus.UNPROCESSABLE_ENTITY,
    EngineVersionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    # The machine does not allow it as it stands.
    DoesNotFitError: HTTPStatus.CONFLICT,
    SwapFailedError: HTTPStatus.CONFLICT,
    DeviceError: HTTPStatus.CONFLICT,
    AlreadyRunningError: HTTPStatus.CONFLICT,
    NotRunningError: HTTPStatus.CONFLICT,
    PortInUseError: HTTPStatus.CONFLICT,
    ServiceError: HTTPStatus.CONFLICT,
    DiskFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    # Something that vedette needs fails.
    EngineFailedError: HTTPStatus.BAD_GATEWAY,
    EngineAnswerError: HTTPStatus.BAD_GATEWAY,
    RemoteError: HTTPStatus.BAD_GATEWAY,
    EngineInstallError: HTTPStatus.SERVICE_UNAVAILABLE,
    EngineUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    FileAccessError: HTTPStatus.SERVICE_UNAVAILABLE,
    # Only bugs are left.
    FaultError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of every error class; a class without a line has that of the class it is derived from."""

_ANTHROPIC_KINDS = {
    HTTPStatus.BAD_REQUEST: "invalid_request_error",
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
}

_BEGUN = web.RequestKey("begun", bool)


@web.middleware
async def render_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer with JSON for whatever a handler raises, unless an answer has begun already."""
    try:
        return await handler(request)
    except VedetteError as error:
        if isinstance(error, BadInputError):
            mistakes.warning("%s %s: %s", request.method, plain(request.path[:100]), plain(error.sentence[:300]))
        return _answer(request, error, status_of(error))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _answer(request, _of_http(error), HTTPStatus(error.status), error.headers.get("Allow"))
    except (web.RequestPayloadError, HttpProcessingError) as error:
        unreadable = BadInputError("serve.body_unreadable", error=type(error.__cause__ or error).__name__)
        return _answer(request, unreadable, HTTPStatus.BAD_REQUEST)
    except ConnectionError:
        raise  # the client has closed the connection: nobody reads an answer
    except Exception:
        log.exception("Fault in vedette while answering %s %s", request.method, request.path)
        if begun(request):
            raise
        return _answer(request, FaultError("serve.fault"), HTTPStatus.INTERNAL_SERVER_ERROR)


def mark_begun(request: web.Request) -> None:
    """Note that the answer's first bytes are sent: no other answer can be given from here on."""
    request[_BEGUN] = True


def begun(request: web.Request) -> bool:
    """Whether the answer's first bytes are sent."""
    return bool(request.get(_BEGUN))


def status_of(error: VedetteError) -> HTTPStatus:
    """The status of an error's class, or of the nearest class above it that has one."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def retry_headers(error: VedetteError) -> dict[str, str]:
    """`Retry-After` where the same request may succeed later, and no headers otherwise."""
    wait_s = error.message.params.get("wait_s", RETRY_AFTER_S)
    return {"Retry-After": str(math.ceil(wait_s))} if error.retryable else {}


def openai_json(error: VedetteError) -> dict[str, object]:
    """The error in OpenAI's shape, which its client libraries read; `detail` is vedette's message as a value."""
    kind = "server_error" if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    message = f"{error.sentence} {error.hint}".strip()
    detail = message_json(error.message)
    return {"error": {"message": message, "type": kind, "param": None, "code": error.code, "detail": detail}}


def raw_answer(error: VedetteError, path: str = "") -> bytes:
    """The error as a whole HTTP response, after which the connection ends. path: of the request, if it is known."""
    status, body = status_of(error), _dumps(client_json(path, error)).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **retry_headers(error),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def anthropic_json(error: VedetteError) -> dict[str, object]:
    """The error in the shape of Anthropic's Messages API."""
    kind = _ANTHROPIC_KINDS.get(status_of(error), "api_error")
    detail = message_json(error.message)
    message = f"{error.sentence} {error.hint}".strip()
    return {"type": "error", "error": {"type": kind, "message": message, "code": error.code, "detail": detail}}


def client_json(path: str, error: VedetteError) -> dict[str, object]:
    """The error in the shape that the clients of an address read."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return anthropic_json(error)
    return openai_json(error) if path.startswith("/v1") else {"error": error.as_json()}


def shown_json(request: web.Request, error: VedetteError) -> dict[str, object]:
    """The error as the sender of a request may see it: where files lie is for the owner only."""
    body = client_json(request.path, error)
    shown: dict[str, object] = body if principal_of(request).role is Role.OWNER else without_places(body)
    return shown


def _answer(request: web.Request, error: VedetteError, status: HTTPStatus, allow: str | None = None) -> web.Response:
    headers = retry_headers(error) | ({"Allow": allow} if allow else {})
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(shown_json(request, error), status=status, headers=headers, dumps=_dumps)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _of_http(error: web.HTTPException) -> VedetteError:
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLargeError("serve.body_too_large")
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return NoSuchPageError("serve.wrong_method", method=error.method if hasattr(error, "method") else "")
    if error.status == HTTPStatus.NOT_FOUND:
        return NoSuchPageError("serve.no_such_page")
    return BadInputError("serve.http_error", status=f"{error.status} {error.reason}")
