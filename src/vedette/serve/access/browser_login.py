"""`/login` and `/api/login`: a person shows a key once, and the browser keeps a cookie in its place."""

import msgspec
from aiohttp import web

from vedette.errors import BadInputError, UnauthorizedError
from vedette.serve.access.doorman import Access
from vedette.serve.access.session_cookie import LIFETIME_S
from vedette.serve.json_answer import json_answer

_MOST_BYTES = 1024


class ShownKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that a person shows."""

    key: str


class LoggedIn(msgspec.Struct, frozen=True):
    """Whom vedette takes the browser for from here on."""

    name: str
    role: str
    """`look`, `use`, `admin` or `owner`."""


class Login:
    """The handlers of `/api/login`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def begin(self, request: web.Request) -> web.Response:
        """Answer with the cookie. Raises UnauthorizedError for a key that is not known, BadInputError."""
        if (request.content_length or _MOST_BYTES + 1) > _MOST_BYTES:
            raise BadInputError("access.login_unreadable")
        try:
            shown = msgspec.json.decode(await request.read(), type=ShownKey)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadInputError("access.login_unreadable") from error
        found = self._access.identify(shown.key.strip())
        if found is None or found.key is None:
            raise UnauthorizedError("access.key_unknown")
        answer = json_answer(LoggedIn(found.key, found.role.name.lower()))
        answer.set_cookie(
            self._access.cookie_name,
            self._access.cookie_for(found),
            max_age=int(LIFETIME_S),
            httponly=True,
            samesite="Strict",
            secure=self._access.is_encrypted,
        )
        return answer

    async def end(self, _: web.Request) -> web.Response:
        """Take the cookie back."""
        answer = web.Response(status=204)
        answer.del_cookie(self._access.cookie_name)
        return answer
