"""What each client uses, and may use: requests and tokens a minute, requests at once. Clocks are passed in.

A client is a key or, without one, an address. Its budget of a minute fills up evenly, so a client that has used it up
waits for seconds and not for the next minute. The owner is counted, and not limited.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from vedette.errors import TooManyRequestsError, UnauthorizedError
from vedette.serve.access.principal import Principal, Role
from vedette.serve.access.usage_book import UsageBook

_MINUTE_S = 60.0
_MOST_BUDGETS = 4096
"""Clients that are remembered; those that have used nothing of late are forgotten first."""


@dataclass(frozen=True)
class ClientLimits:
    """What one client may use; None is without limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_at_once: int | None = None


@dataclass
class _Budget:
    """What a client has left of its minute."""

    requests: float
    tokens: float
    at: float
    running: int = 0


class Accounts:
    """The accounts of all clients."""

    def __init__(
        self,
        limits: ClientLimits,
        book: UsageBook | None = None,
        is_known: Callable[[Principal], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """is_known: whether a client's key still holds; a page's socket outlasts the request that showed it."""
        self.book = book or UsageBook(None)
        self._is_known = is_known
        self._limits = limits
        self._clock = clock
        self._budgets: dict[str, _Budget] = {}

    def of(self, principal: Principal) -> "Account":
        """The account of who sends a request."""
        return Account(self, principal)

    def check(self, principal: Principal) -> None:
        """Raises UnauthorizedError once a client's key is revoked."""
        if not self._is_known(principal):
            raise UnauthorizedError("access.key_unknown")

    def take(self, principal: Principal) -> None:
        """Count a request. Raises TooManyRequestsError where its client has used up its minute, UnauthorizedError."""
        self.check(principal)
        if principal.role is not Role.OWNER:
            self._take(principal)
        self.book.note(principal.key, requests=1)

    @contextmanager
    def hold(self, principal: Principal) -> Iterator[None]:
        """Count a request that is being answered. Raises TooManyRequestsError if too many of its client's are."""
        budget, most = self._budget(principal.client), self._limits.requests_at_once
        if principal.role is not Role.OWNER and most is not None and budget.running >= most:
            self.book.note(principal.key, refused=1)
            raise TooManyRequestsError("access.too_many_at_once", most=most, wait_s=1)
        budget.running += 1
        try:
            yield
        finally:
            budget.running -= 1

    def spend(self, principal: Principal, prompt_tokens: int, answer_tokens: int) -> None:
        """Count the tokens of an answer; more than the budget has are paid off before the next request."""
        self._budget(principal.client).tokens -= prompt_tokens + answer_tokens
        self.book.note(principal.key, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens)

    def headers(self, principal: Principal) -> dict[str, str]:
        """A client's remaining requests and tokens of this minute, as OpenAI's headers; {} without limits."""
        if principal.role is Role.OWNER:
            return {}
        budget, limits = self._budget(principal.client), self._limits
        found = {}
        for name, most, left in (
            ("requests", limits.requests_per_minute, budget.requests),
            ("tokens", limits.tokens_per_minute, budget.tokens),
        ):
            if most is not None:
                found[f"x-ratelimit-limit-{name}"] = str(most)
                found[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(left)))
                found[f"x-ratelimit-reset-{name}"] = f"{(most - left) * _MINUTE_S / most:.3f}s"
        return found

    def _take(self, principal: Principal) -> None:
        budget, limits = self._budget(principal.client), self._limits
        if limits.requests_per_minute is not None and budget.requests < 1:
            wait_s = (1 - budget.requests) * _MINUTE_S / limits.requests_per_minute
            self.book.note(principal.key, refused=1)
            raise TooManyRequestsError("access.too_many_requests", most=limits.requests_per_minute, wait_s=wait_s)
        if limits.tokens_per_minute is not None and budget.tokens < 1:
            wait_s = (1 - budget.tokens) * _MINUTE_S / limits.tokens_per_minute
            self.book.note(principal.key, refused=1)
            raise TooManyRequestsError("access.too_many_tokens", most=limits.tokens_per_minute, wait_s=wait_s)
        budget.requests -= 1

    def _budget(self, client: str) -> _Budget:
        """A client's budget, filled up to this moment."""
        now, limits = self._clock(), self._limits
        requests, tokens = float(limits.requests_per_minute or 0), float(limits.tokens_per_minute or 0)
        budget = self._budgets.get(client)
        if budget is None:
            if len(self._budgets) >= _MOST_BUDGETS:
                self._forget()
            budget = self._budgets[client] = _Budget(requests, tokens, now)
        share = (now - budget.at) / _MINUTE_S
        budget.requests = min(requests, budget.requests + share * requests)
        budget.tokens = min(tokens, budget.tokens + share * tokens)
        budget.at = now
        return budget

    def _forget(self) -> None:
        """Drop the half that was idle longest, but nobody who has requests in flight."""
        idle = sorted((each.at, client) for client, each in self._budgets.items() if not each.running)
        for _, client in idle[: max(1, len(self._budgets) // 2)]:
            del self._budgets[client]


@dataclass(frozen=True)
class Account:
    """The account of one client."""

    accounts: Accounts
    principal: Principal

    def check(self) -> None:
        """Raises UnauthorizedError once its key is revoked."""
        self.accounts.check(self.principal)

    def take(self) -> None:
        """Count a request. Raises TooManyRequestsError, UnauthorizedError once its key is revoked."""
        self.accounts.take(self.principal)

    def headers(self) -> dict[str, str]:
        """The client's remaining requests and tokens of this minute."""
        return self.accounts.headers(self.principal)

    def spend(self, prompt_tokens: int, answer_tokens: int) -> None:
        """Count the tokens of an answer."""
        self.accounts.spend(self.principal, prompt_tokens, answer_tokens)


_ACCOUNT = web.RequestKey("account", Account)


def note_account(request: web.Request, account: Account) -> None:
    """Record whose account a request is charged to."""
    request[_ACCOUNT] = account


def find_account(request: web.Request) -> Account | None:
    """The account that a request is charged to; None if it was refused before that was known."""
    return request.get(_ACCOUNT)


def account_of(request: web.Request) -> Account:
    """The account that a request is charged to."""
    account: Account = request[_ACCOUNT]
    return account
