"""Keeps pages of other sites out: every page in a user's browser can send requests to a loopback address.

Two checks close the two ways in. A page whose own host name was made to resolve to this machine (DNS rebinding) sends
that name as Host; a page that sends requests to this address carries its own Origin. No other origin is allowed.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from vedette.errors import ForbiddenError

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


class Guard:
    """Holds the host names that vedette answers to."""

    def __init__(self, host: str) -> None:
        name = socket.gethostname().lower()
        self._names = {"localhost", host.lower(), name, f"{name}.local"}

    @web.middleware
    async def check(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer a request that is allowed. Raises ForbiddenError for any other."""
        self._check_host(request)
        _check_origin(request)
        return await handler(request)

    def _check_host(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        name = (urlsplit(f"//{host}").hostname or "") if _is_netloc(host) else ""
        if name in self._names or name.endswith(".localhost") or _is_address(name):
            return
        raise ForbiddenError("serve.unknown_host", host=repr(host[:100]))


def _check_origin(request: web.Request) -> None:
    """Raises ForbiddenError for other sites' pages: browsers name the site in a POST and when a socket is opened."""
    if request.method in _SAFE_METHODS and request.headers.get("Upgrade", "").lower() != "websocket":
        return
    origin = request.headers.get("Origin")
    same = origin is None or (_is_netloc(origin) and urlsplit(origin).netloc == request.headers.get("Host"))
    if not same or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError("serve.other_origin", origin=str(origin)[:100])


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on every answer, streams included."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers["Server"] = "vedette"


def _is_netloc(text: str) -> bool:
    """Whether `text` can be split into host and port; unmatched brackets cannot."""
    try:
        urlsplit(text if "//" in text else f"//{text}")
    except ValueError:
        return False
    return True


def _is_address(name: str) -> bool:
    """Whether the host is an IP address: then no name was resolved, and none can have been rebound."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
