"""Every address of the app, once: its method, its types, and what it is for.

The app takes its routes from this table, and /openapi.json and docs/api.md are made of it: an address that stands here
is served and described, and no other is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from vedette.serve.access.browser_login import LoggedIn, ShownKey
from vedette.serve.access.principal import Role
from vedette.serve.api.served_models import ModelList, Swap, Swapped
from vedette.serve.documents import Health, StatusDocument
from vedette.serve.live.messages import ClientMessage, ServerMessage

OpenApi = dict[str, Any]
Body = Any
"""A JSON answer's type, the media type of an answer that is no JSON object of vedette's, or None for an empty one."""


@dataclass(frozen=True)
class Parameter:
    """A part of an address that a client chooses."""

    name: str
    place: str
    """`path` or `query`."""
    about: str
    values: tuple[str, ...] = ()
    """All that are possible; none means any text."""


@dataclass(frozen=True)
class Endpoint:
    """One method of one address."""

    name: str
    """The handler's, in app.py."""
    needs: Role
    """The least role that may use it."""
    method: str
    path: str
    """As aiohttp's router reads it."""
    summary: str
    about: str = ""
    answer: Body = None
    request: type | None = None
    parameters: tuple[Parameter, ...] = ()
    statuses: Mapping[HTTPStatus, str] = field(default_factory=dict)
    """Further statuses, and when they come."""
    socket: tuple[Any, Any] | None = None
    """Types of the messages from and to the client, where this is a WebSocket."""


Pair = Annotated[list[str], msgspec.Meta(min_length=2, max_length=2)]
"""A sentence and its hint."""
_ENGINE_MISSING = {HTTPStatus.SERVICE_UNAVAILABLE: "No engine can answer now; `Retry-After` tells when to try again."}
_MODEL = Parameter("model", "query", "The model to look at, where several are served.")

ENDPOINTS = (
    Endpoint("page", Role.LOOK, "GET", "/", "The live page", answer="text/html"),
    Endpoint(
        "file",
        Role.NOBODY,
        "GET",
        "/static/{name:.+}",
        "A file of the page",
        answer="*/*",
        parameters=(Parameter("name", "path", "The file's path."),),
        statuses={HTTPStatus.NOT_FOUND: "There is no such file."},
    ),
    Endpoint(
        "login_page",
        Role.NOBODY,
        "GET",
        "/login",
        "The page that asks for a key",
        "Where a key is needed, `/` leads here.",
        answer="text/html",
    ),
    Endpoint(
        "login",
        Role.NOBODY,
        "POST",
        "/api/login",
        "Show a key and get a cookie",
        "For browsers. Programs send their key with each request, as `Authorization: Bearer KEY` or `x-api-key: KEY`.",
        answer=LoggedIn,
        request=ShownKey,
        statuses={
            HTTPStatus.BAD_REQUEST: "The body is not such an object.",
            HTTPStatus.UNAUTHORIZED: "The key is not known.",
        },
    ),
    Endpoint("logout", Role.NOBODY, "DELETE", "/api/login", "Give the cookie back"),
    Endpoint("icon", Role.NOBODY, "GET", "/favicon.ico", "The page's icon", answer="image/svg+xml"),
    Endpoint(
        "healthz",
        Role.NOBODY,
        "GET",
        "/healthz",
        "Whether requests to all models are answered",
        "For load balancers and readiness probes. Any answer at all is a sign of life.",
        answer=Health,
        statuses={HTTPStatus.SERVICE_UNAVAILABLE: "A model does not answer now; `reason` says why."},
    ),
    Endpoint(
        "metrics",
        Role.LOOK,
        "GET",
        "/metrics",
        "Figures for Prometheus",
        "vedette's own figures (`vedette_…`), and those of its engines (`vllm:…`), which listen on loopback only.",
        answer="text/plain; version=0.0.4",
    ),
    Endpoint(
        "status",
        Role.LOOK,
        "GET",
        "/api/status",
        "The status of every served model",
        "What `vedette status --json` prints.",
        StatusDocument,
    ),
    Endpoint(
        "scene", Role.LOOK, "GET", "/api/scene.jpg", "A picture of the drawn scene at this moment", answer="image/jpeg"
    ),
    Endpoint(
        "language",
        Role.NOBODY,
        "GET",
        "/api/language/{language}",
        "The sentences of all messages in one language",
        "A sentence, or a pair of sentence and hint, for each message code. `{…_bytes}` is shown as a size, `{…_s}` as "
        "a duration, a number with separators, a list joined.",
        answer=dict[str, str | Pair],
        parameters=(Parameter("language", "path", "The language.", ("en", "zh")),),
        statuses={HTTPStatus.NOT_FOUND: "vedette does not speak this language."},
    ),
    Endpoint(
        "list_models", Role.LOOK, "GET", "/api/models", "The models that are served or installed", answer=ModelList
    ),
    Endpoint(
        "swap",
        Role.USE,
        "POST",
        "/api/swap",
        "Serve another model",
        "Answers once the model does, and may take minutes. An installed model is swapped in even if the client hangs "
        "up; a download ends with its client. The owner may name any model; a key with the role admin, a model of the "
        "catalogue or an installed one; others only where `vedette up --allow-swap` says so, and an installed one.",
        answer=Swapped,
        request=Swap,
        statuses={
            HTTPStatus.BAD_REQUEST: "The body is not such an object.",
            HTTPStatus.FORBIDDEN: "The client may not swap.",
            HTTPStatus.NOT_FOUND: "There is no such model.",
            HTTPStatus.CONFLICT: "The model does not fit, or did not start; the one before is served again.",
            HTTPStatus.UNPROCESSABLE_ENTITY: "The model or the engine cannot be used.",
            HTTPStatus.INSUFFICIENT_STORAGE: "The disk is full.",
            HTTPStatus.BAD_GATEWAY: "The engine ended.",
        }
        | _ENGINE_MISSING,
    ),
    Endpoint(
        "live",
        Role.LOOK,
        "GET",
        "/api/live",
        "The live page's WebSocket",
        "Text messages are JSON objects with a `type`. A binary message is a frame: a header of three big-endian "
        "unsigned 32-bit integers (the number of the ask, the time that the page held the ask in µs, the frame's age "
        "when it was sent in µs), then a JPEG, PNG or WebP picture of at most `max_pixels`. The server sends frames of "
        "its own sources in the same form.",
        parameters=(_MODEL,),
        statuses=_ENGINE_MISSING
        | {
            HTTPStatus.BAD_REQUEST: "The request does not ask for a WebSocket.",
            HTTPStatus.FORBIDDEN: "A page of another site asks.",
        },
        socket=(ClientMessage, ServerMessage),
    ),
    Endpoint(
        "openapi",
        Role.NOBODY,
        "GET",
        "/openapi.json",
        "This description as an OpenAPI document",
        answer=OpenApi,
    ),
    Endpoint(
        "v1_models",
        Role.LOOK,
        "GET",
        "/v1/models",
        "The models that a request may name",
        "OpenAI's list of models.",
        answer="application/json",
        statuses=_ENGINE_MISSING,
    ),
    Endpoint(
        "v1",
        Role.USE,
        "*",
        "/v1/{path:.*}",
        "The OpenAI API of the engine",
        "Passed through in both directions, streams included. A request that asks for more than the plan has room for "
        "(`n`, tokens, pictures, schemas, text) is refused with the numbers, and a picture that is too large for the "
        "plan is made smaller; any other request reaches the engine byte for byte. Pictures are JPEG, PNG, WebP, GIF, "
        "AVIF, TIFF or BMP, in `data:` addresses; they are turned upright and put on white where they are transparent. "
        "Clips are frames (`data:video/jpeg;base64,FRAME,FRAME,…`), an animated GIF, WebP, PNG or AVIF, or, where PyAV "
        "is installed beside vedette, MP4, WebM or AVI; of these as many frames as are planned are taken, evenly. "
        "The engine's OpenAPI document: "
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html. Requests for which the engine generates "
        "wait in vedette for their turn, and outlive an engine that is started again meanwhile. `model` chooses "
        "among the served models; without it the first one answers.",
        answer="*/*",
        parameters=(Parameter("path", "path", "For instance `chat/completions`."),),
        statuses={
            HTTPStatus.BAD_REQUEST: "The request is no JSON, or asks for more than the plan has room for.",
            HTTPStatus.NOT_FOUND: "The model is not served here, or the engine has no such address.",
            HTTPStatus.METHOD_NOT_ALLOWED: "The method is not GET, HEAD, POST or DELETE.",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is larger than 32 MiB.",
        }
        | _ENGINE_MISSING,
    ),
)
