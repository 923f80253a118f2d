"""The files of the pages, read once and served from memory."""

import hashlib
from pathlib import Path

from aiohttp import web

_DIRECTORY = Path(__file__).parent / "static"
_PAGE = "live/live.html"
_LOGIN_PAGE = "login/login.html"
_ICON = "shared/icon.svg"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Assets:
    """The handlers of `/`, `/login`, `/favicon.ico` and `/static/…`."""

    def __init__(self) -> None:
        paths = (path for path in _DIRECTORY.rglob("*") if path.suffix in _TYPES)
        # Only these names are served, so that no path leads out of the directory.
        self._files = {path.relative_to(_DIRECTORY).as_posix(): _read(path) for path in paths}

    async def page(self, request: web.Request) -> web.Response:
        return self._send(request, _PAGE)

    async def login_page(self, request: web.Request) -> web.Response:
        return self._send(request, _LOGIN_PAGE)

    async def icon(self, request: web.Request) -> web.Response:
        """What browsers ask for where they show no page of vedette's, as for a JSON document."""
        return self._send(request, _ICON)

    async def file(self, request: web.Request) -> web.Response:
        return self._send(request, request.match_info["name"])

    def _send(self, request: web.Request, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound
        body, kind, tag = self._files[name]
        # A browser asks again each time and learns when nothing has changed: an update shows at once.
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


def _read(path: Path) -> tuple[bytes, str, str]:
    """The body, its content type and a tag that changes with it."""
    body = path.read_bytes()
    return body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:16]
