"""`/api/language/{language}`: the sentences for the page, which shows the server's messages in its own language."""

import hashlib
from functools import lru_cache

import msgspec
from aiohttp import web

from vedette.language.message import Language, table

LANGUAGES: tuple[Language, ...] = ("en", "zh")


async def language(request: web.Request) -> web.Response:
    """Answer with one language's table: a sentence for each code, or a sentence and a hint."""
    name = request.match_info["language"]
    if name not in LANGUAGES:
        raise web.HTTPNotFound
    body, tag = _encoded(name)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)


@lru_cache
def _encoded(name: Language) -> tuple[bytes, str]:
    body = msgspec.json.encode(table(name))
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'
