"""The page's files, read once and served from memory."""

import hashlib
from pathlib import Path

from aiohttp import web

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Assets:
    """Answers `/` and `/static/NAME`."""

    def __init__(self) -> None:
        directory = Path(__file__).parent / "static"
        self._files = {path.name: _read(path) for path in directory.iterdir() if path.suffix in _TYPES}

    async def page(self, request: web.Request) -> web.Response:
        return self._send(request, "index.html")

    async def file(self, request: web.Request) -> web.Response:
        return self._send(request, request.match_info["name"])

    def _send(self, request: web.Request, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound
        body, kind, tag = self._files[name]
        # A browser asks again each time and is told when nothing changed: an update shows at once.
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


def _read(path: Path) -> tuple[bytes, str, str]:
    body = path.read_bytes()
    return body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:16]
