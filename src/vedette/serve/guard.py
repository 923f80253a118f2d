"""Keeps other sites' pages out: a loopback address is reachable from every page in the person's browser.

Two checks close the two ways in. A page whose own name was made to point here (DNS rebinding) sends that name
as Host; a page that simply sends requests here carries its own Origin. Nothing is ever allowed across origins.
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
    """Knows the names that vedette may be called by."""

    def __init__(self, host: str) -> None:
        name = socket.gethostname().lower()
        self._names = {"localhost", host.lower(), name, f"{name}.local"}

    @web.middleware
    async def check(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Lets a request through or raises ForbiddenError."""
        self._check_host(request)
        _check_origin(request)
        return await handler(request)

    def _check_host(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        name = (urlsplit(f"//{host}").hostname or "") if _is_netloc(host) else ""
        if name in self._names or name.endswith(".localhost") or _is_address(name):
            return
        raise ForbiddenError(
            f"vedette does not answer to the name {host[:100]!r}.",
            "Open it by its IP address, as localhost, or under the name given with --host.",
        )


def _check_origin(request: web.Request) -> None:
    """A browser always says which page sends a POST or opens a socket; other programs say nothing."""
    if request.method in _SAFE_METHODS and request.headers.get("Upgrade", "").lower() != "websocket":
        return
    origin = request.headers.get("Origin")
    same = origin is None or (_is_netloc(origin) and urlsplit(origin).netloc == request.headers.get("Host"))
    if not same or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError(
            f"A page of another site ({str(origin)[:100]}) may not use this vedette.",
            "Open vedette's own page, or call the API from a program instead of a page.",
        )


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Puts the security headers on every answer, also those that stream."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers["Server"] = "vedette"


def _is_netloc(text: str) -> bool:
    """Whether `text` can be split as an address; brackets that do not match cannot."""
    try:
        urlsplit(text if "//" in text else f"//{text}")
    except ValueError:
        return False
    return True


def _is_address(name: str) -> bool:
    """An IP address needs no list: no name was resolved to get here, so none can have been made to point here."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
