"""Requests over HTTP with bounds: parts of files, redirects, and headers that one server alone may see.

Standard library only. A source is an untrusted server: a redirect must lead from HTTPS to HTTPS or stay on its host,
and the headers, which may hold a key, are only sent to the source's own origin.
"""

import contextlib
import email.message
import email.utils
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from vedette.models.store.fetching.model_source import SourceError, Trouble

TIMEOUT_S = 15.0
"""Limit of the time to connect, and of each wait for data."""
REDIRECTS = 5
DEADLINE_S = 120.0
"""For a small part of a file."""
READ_BYTES = 1 << 16
CUT_SHORT = "cut short"
"""The detail of an answer that has begun and ends before its announced length."""
BROKEN_OFF = frozenset(
    {CUT_SHORT, "ConnectionResetError", "BrokenPipeError", "IncompleteRead", "RemoteDisconnected"}
    | {"ReadError", "RemoteProtocolError", "ChunkedEncodingError"}
)
"""The details of UNREACHABLE where somebody had answered the call: the next attempt may go better."""
WRONG_CREDENTIALS = "Invalid credentials in Authorization header"
"""What a hub says of a key that it does not know."""
Headers = Mapping[str, str] | email.message.Message
_REDIRECTED = {301, 302, 303, 307, 308}
_PASSING = {408, 429}


class UntrustedRedirectError(Exception):
    """The server sent the request to an address that it must not go to."""


class StatusError(Exception):
    """The server answered with a status of 400 or more."""

    def __init__(self, status: int, headers: "Headers") -> None:
        super().__init__(str(status))
        self.status = status
        self.headers = headers


class TooManyRedirectsError(Exception):
    """The redirects do not end, or lead to no address of the web."""


@dataclass(frozen=True)
class WebAccess:
    """A server, and the headers that it alone gets."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def open(self, url: str, begin: int | None = None, end: int | None = None) -> http.client.HTTPResponse:
        """The response at the end of a chain of redirects.

        Raises StatusError, OSError or http.client.HTTPException if no server answers,
        UntrustedRedirectError, TooManyRedirectsError.
        """
        opener = urllib.request.build_opener(_NoRedirects)
        own = _origin(urlsplit(self.address))
        if not all(value.isascii() and value.isprintable() for value in self.headers.values()):
            # No server knows such a key, and Python's error would show it.
            raise StatusError(HTTPStatus.UNAUTHORIZED, {"X-Error-Message": WRONG_CREDENTIALS})
        check_way(self.address, url)
        for _ in range(REDIRECTS):
            request = urllib.request.Request(url, headers={"User-Agent": "vedette"})  # noqa: S310 - checked below
            if begin is not None:
                request.add_header("Range", f"bytes={begin}-{'' if end is None else end - 1}")
            if _origin(urlsplit(url)) == own:
                for name, value in self.headers.items():
                    request.add_unredirected_header(name, value)
            if urlsplit(url).scheme not in {"http", "https"}:
                raise TooManyRedirectsError
            try:
                response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
            except urllib.error.HTTPError as error:
                error.close()
                raise StatusError(error.code, error.headers) from None
            if response.status not in _REDIRECTED:
                return response
            response.close()
            target = urljoin(url, response.headers.get("Location") or "")
            check_way(url, target)
            url = target
        raise TooManyRedirectsError


def check_way(here: str, there: str) -> None:
    """Raises UntrustedRedirectError unless a server at `here` may send a request to `there`."""
    one, other = urlsplit(here), urlsplit(there)
    secure = one.scheme == other.scheme == "https"
    if not secure and (one.scheme, one.hostname) != (other.scheme, other.hostname):
        raise UntrustedRedirectError


@contextlib.contextmanager
def web_troubles() -> Iterator[None]:
    """Turns the errors of requests into SourceError, without addresses and keys."""
    try:
        yield
    except StatusError as error:
        raise trouble_of_status(error.status, error.headers) from None
    except UntrustedRedirectError:
        raise SourceError(Trouble.UNTRUSTED) from None
    except TooManyRedirectsError:
        raise SourceError(Trouble.ODD_ANSWER) from None
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(Trouble.UNREACHABLE, type(error).__name__) from None


def trouble_of_status(status: int, headers: Headers) -> SourceError:
    """The error for a status that means the same at every source."""
    if status in _PASSING or status >= 500:
        return SourceError(Trouble.BUSY, str(status), wait_s=parse_retry_after(headers.get("Retry-After")))
    return SourceError(Trouble.NOT_FOUND if status in {404, 410} else Trouble.REFUSED, str(status))


def parse_retry_after(value: str | None, now_s: float | None = None) -> float | None:
    """The seconds that a `Retry-After` names, as a number or as a date; None without one that can be read."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value[:9])
    try:
        date = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, date - (time.time() if now_s is None else now_s))


@contextlib.contextmanager
def body_of(response: http.client.HTTPResponse, begin: int = 0) -> Iterator[Iterator[bytes]]:
    """The bytes of a response from `begin` of its file on, as they arrive; their iterator raises SourceError.

    What the reader of the bytes raises is its own: a full disk is no trouble of the source.
    """
    with response:
        skip = begin
        if response.status == http.client.PARTIAL_CONTENT:
            if not (response.headers.get("Content-Range") or "").startswith(f"bytes {begin}-"):
                raise SourceError(Trouble.ODD_ANSWER)
            skip = 0
        yield without_start(_arriving(response), skip)


def _arriving(response: http.client.HTTPResponse) -> Iterator[bytes]:
    with web_troubles():
        while chunk := response.read1(READ_BYTES):
            yield chunk


def without_start(chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    """The bytes behind the first `skip`: a server without ranges sends a file from its start."""
    for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def read_bounded(chunks: Iterator[bytes], most_bytes: int, deadline_s: float = DEADLINE_S) -> bytes:
    """At most `most_bytes` of what arrives. Raises SourceError if that takes longer than `deadline_s`."""
    data = bytearray()
    until_s = time.monotonic() + deadline_s
    while len(data) < most_bytes and (chunk := next(chunks, None)) is not None:
        data += chunk[: most_bytes - len(data)]
        if time.monotonic() > until_s:
            raise SourceError(Trouble.UNREACHABLE, TimeoutError.__name__)
    return bytes(data)


def read_answer(response: http.client.HTTPResponse, most_bytes: int) -> bytes:
    """A whole answer, or `most_bytes` of one that is longer. Raises SourceError, also for one that ends too early."""
    announced = response.length
    with body_of(response) as chunks:
        data = read_bounded(chunks, most_bytes)
    if announced is not None and len(data) < min(announced, most_bytes):
        raise SourceError(Trouble.UNREACHABLE, CUT_SHORT)
    return data


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Returns redirects to the caller, who checks where they lead."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port
