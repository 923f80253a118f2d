"""Keeps pages of other sites out: every page in a user's browser can send requests to a loopback address.

Two checks close the two ways in. A page whose own host name was made to resolve to this machine (DNS rebinding) sends
that name as Host; a page that sends requests to this address carries its own Origin: scheme, host and port. No other
name and no other origin is allowed, unless the owner allows it.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web

from vedette.errors import BadInputError, ForbiddenError

_PORTS = {"http": 80, "https": 443}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


_ENGINE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Of answers that an engine, or somebody's server, writes: a browser that opens one runs and loads nothing of it."""
_METHODS = "GET, POST, DELETE"
_PREFLIGHT_S = 600


class Guard:
    """Holds the host names that vedette answers to, and the pages of other servers that may call it."""

    def __init__(self, host: str, allowed_hosts: Sequence[str] = (), allowed_origins: Sequence[str] = ()) -> None:
        """allowed_hosts: names without a port. allowed_origins: as a browser sends them, such as `https://app.lan`."""
        name = socket.gethostname().lower()
        self._names = {"localhost", host.lower(), name, f"{name}.local", *map(str.lower, allowed_hosts)}
        self._origins = {_plain_origin(origin) for origin in allowed_origins}

    @web.middleware
    async def check(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer a request that is allowed. Raises ForbiddenError for any other."""
        _check_text(request)
        self._check_host(request)
        self._check_origin(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            if not self._is_allowed(request):
                raise ForbiddenError("serve.other_origin", origin=request.headers.get("Origin", "")[:100])
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=_preflight(request))
        return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Put the security headers on every answer, streams included."""
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if request.path.startswith("/v1"):
            response.headers["Content-Security-Policy"] = _ENGINE_POLICY
        response.headers["Server"] = "vedette"
        if self._is_allowed(request):  # without cookies: a page of another server shows a key
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Vary"] = "Origin"

    def _check_host(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        name = _host_name(host)
        if name in self._names or name.endswith(".localhost") or _is_address(name):
            return
        raise ForbiddenError("serve.unknown_host", host=repr(host[:100]))

    def _check_origin(self, request: web.Request) -> None:
        """Raises ForbiddenError for other sites' pages: browsers name the site in a POST and for a socket."""
        if request.method in _SAFE_METHODS and request.headers.get("Upgrade", "").lower() != "websocket":
            return
        if self._is_allowed(request):
            return
        origin = request.headers.get("Origin")
        same = origin is None or _plain_origin(origin) == _plain_origin(f"{request.scheme}://{request.headers['Host']}")
        if not same or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise ForbiddenError("serve.other_origin", origin=str(origin)[:100])

    def _is_allowed(self, request: web.Request) -> bool:
        """Whether a page of another server sends the request, and is allowed to."""
        return bool(self._origins) and _plain_origin(request.headers.get("Origin", "")) in self._origins


def _check_text(request: web.Request) -> None:
    """Raises BadInputError for a header that is no text: an answer that repeats it could not be written."""
    for name, value in request.headers.items():
        if not value.isascii() and (name.lower().startswith("sec-websocket-") or not _is_unicode(value)):
            raise BadInputError("serve.header_not_text", name=name[:100])


def _is_unicode(value: str) -> bool:
    """Whether a header's bytes are UTF-8: aiohttp reads others as surrogates, which nothing can encode."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _preflight(request: web.Request) -> dict[str, str]:
    """What a browser wants to know before it sends another server's page's request."""
    headers = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": str(_PREFLIGHT_S)}
    if wanted := request.headers.get("Access-Control-Request-Headers"):
        headers["Access-Control-Allow-Headers"] = wanted
    if "Access-Control-Request-Private-Network" in request.headers:
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers


def _plain_origin(origin: str) -> str:
    """Scheme, host and port of an origin, the port of its scheme left out; "" for what is none."""
    try:
        parts = urlsplit(origin.rstrip("/").lower())
        port = None if parts.port == _PORTS.get(parts.scheme) else parts.port
    except ValueError:
        return ""
    if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.query or parts.username:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


def _host_name(host: str) -> str:
    """The name in a `Host` header, without the port; "" for what cannot be split, such as unmatched brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    """Whether the host is an IP address: then no name was resolved, and none can have been rebound."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
