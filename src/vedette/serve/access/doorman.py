"""Decides once for each request who sends it and whether that may be. An address that no role is given to is closed."""

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from aiohttp import web

from vedette.errors import FaultError, ForbiddenError, UnauthorizedError
from vedette.serve.access import session_cookie
from vedette.serve.access.accounts import Accounts, ClientLimits, find_account, note_account
from vedette.serve.access.key_file import OWNER_NAME, ROLES, Key, KeyFile, digest_of
from vedette.serve.access.principal import Principal, Role, note_principal
from vedette.serve.access.usage_book import UsageBook
from vedette.serve.connections.addresses import address_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOGIN_PAGE = "/login"
LIMITED = frozenset({"v1", "live", "swap", "login"})
"""What is counted, and limited for each client; the rest costs next to nothing."""
_TAKES_ITSELF = frozenset({"live"})
"""A page's socket counts its questions."""


@dataclass(frozen=True)
class Access:
    """The keys that are known, and what a client without one may do."""

    owner_key: str = field(repr=False)
    keys: KeyFile
    open_role: Role = Role.USE
    """Without a key. Where a program comes from gives no right: a relay on this machine speaks for others."""
    limits: ClientLimits = field(default_factory=ClientLimits)
    book: UsageBook | None = None
    is_encrypted: bool = False
    cookie_name: str = "vedette"
    """Of its own for each port: a browser sends cookies to all ports of a host."""

    @classmethod
    def of(
        cls,
        directory: Path,
        owner_key: str,
        port: int,
        open_role: Role,
        limits: ClientLimits = ClientLimits(),  # noqa: B008 - a frozen value
        is_encrypted: bool = False,
    ) -> "Access":
        """The access of a home's vedette. directory: where its keys are kept."""
        book = UsageBook(directory)
        return cls(owner_key, KeyFile(directory), open_role, limits, book, is_encrypted, f"vedette_{port}")

    def principal(self, request: web.Request) -> Principal:
        """Who sends a request. Raises ConfigError if the file of keys is damaged."""
        secret = _sent_key(request)
        found = self.identify(secret) if secret else self._logged_in(request)
        if found is not None:
            return found
        peer = request.transport.get_extra_info("peername") if request.transport else None
        return Principal(self.open_role, f"address {address_of(peer)}", key_refused=bool(secret))

    def identify(self, secret: str) -> Principal | None:
        """Whose key it is; None if it is not known."""
        if hmac.compare_digest(digest_of(secret), digest_of(self.owner_key)):
            return _owner()
        key = self.keys.find(secret)
        return _holder(key) if key is not None else None

    def is_known(self, principal: Principal) -> bool:
        """Whether a client's key has not been revoked since it was shown."""
        if principal.key is None or principal.role is Role.OWNER:
            return True
        key = self.keys.named(principal.key)
        return key is not None and key.digest == principal.key_digest

    def cookie_for(self, principal: Principal) -> str:
        """The cookie's value for a browser that has shown its key."""
        name = principal.key or ""
        return session_cookie.seal(name, self._digest(name) or "", self.owner_key, time.time())

    def _logged_in(self, request: web.Request) -> Principal | None:
        value = _cookie(request, self.cookie_name)
        if value is None:
            return None
        name = session_cookie.named_in(value)
        digest = self._digest(name)
        if digest is None or not session_cookie.is_valid(value, digest, self.owner_key, time.time()):
            return None
        key = None if name == OWNER_NAME else self.keys.named(name)
        return _owner() if key is None else _holder(key)

    def _digest(self, name: str) -> str | None:
        if name == OWNER_NAME:
            return digest_of(self.owner_key)
        key = self.keys.named(name)
        return key.digest if key is not None else None


class Doorman:
    """Lets requests in. needs: for each address, by the name of its route, the least role."""

    def __init__(self, access: Access, needs: Mapping[str, Role]) -> None:
        self._access = access
        self._needs = needs
        self.accounts = Accounts(access.limits, access.book, access.is_known)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that may be.

        Raises UnauthorizedError without a key that is needed, ForbiddenError, TooManyRequestsError.
        """
        principal = self._access.principal(request)
        note_principal(request, principal)
        note_account(request, self.accounts.of(principal))
        if request.match_info.http_exception is not None:  # there is no such address, which the handler says
            return await handler(request)
        name = request.match_info.route.name or ""
        self._admit(name, principal)
        if name not in LIMITED:
            return await handler(request)
        with self.accounts.hold(principal):
            if name not in _TAKES_ITSELF:
                self.accounts.take(principal)
            return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Put a client's remaining requests and tokens into the headers of the API's answers."""
        if request.match_info.http_exception is None and request.match_info.route.name == "v1":
            account = find_account(request)
            response.headers.update(account.headers() if account is not None else {})

    def _admit(self, name: str, principal: Principal) -> None:
        needed = self._needs.get(name)
        if needed is None:
            raise FaultError("serve.fault")
        if principal.role >= needed:
            return
        if name == "page":
            raise web.HTTPSeeOther(LOGIN_PAGE)
        if principal.key_refused:
            raise UnauthorizedError("access.key_unknown")
        if principal.key is None and principal.role is Role.NOBODY:
            raise UnauthorizedError("access.key_needed")
        raise ForbiddenError("access.role_too_low", role=principal.role.name.lower(), needed=needed.name.lower())


def _owner() -> Principal:
    return Principal(Role.OWNER, OWNER_NAME, OWNER_NAME)


def _holder(key: Key) -> Principal:
    return Principal(ROLES[key.role], f"key {key.name}", key.name, key.digest)


def _sent_key(request: web.Request) -> str | None:
    """The key in the headers that OpenAI's and Anthropic's clients use."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return (bearer.strip() if scheme.lower() == "bearer" else "") or request.headers.get("x-api-key") or None


def _cookie(request: web.Request, name: str) -> str | None:
    if "Cookie" not in request.headers:
        return None
    try:
        found = SimpleCookie(request.headers["Cookie"]).get(name)
    except CookieError:
        return None
    return found.value if found is not None else None
