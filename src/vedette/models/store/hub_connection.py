"""Requests to a Hugging Face hub: its address, the token, redirects, parts of files. Standard library only.

A hub is an untrusted server: a redirect must lead from HTTPS to HTTPS or stay on its host, and the token is only sent
to the hub's own origin. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and the file of `hf auth login` work as in the hub's own
client.
"""

import http.client
import os
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from vedette.files import read_whole

TIMEOUT_S = 15.0
"""Limit of the time to connect, and of each wait for data."""
REDIRECTS = 5
MAX_TOKEN_BYTES = 4096
_REDIRECTED = {301, 302, 303, 307, 308}


class UntrustedRedirectError(Exception):
    """The hub sent the request to an address that it must not go to."""


class NotAHubError(Exception):
    """The server's answer is not that of a hub."""


@dataclass(frozen=True)
class HubConnection:
    """A hub, and who asks it."""

    address: str
    token: str | None = field(repr=False)

    def listing(self, model_id: str) -> http.client.HTTPResponse:
        """The description of a model's main branch with all of its files, as JSON. Raises as `open` does."""
        return self.open(f"{self.address}/api/models/{quote(model_id)}?blobs=true")

    def file(
        self, model_id: str, commit: str, name: str, begin: int | None = None, end: int | None = None
    ) -> http.client.HTTPResponse:
        """A file, or its bytes from `begin` on, or those before `end`, too. Raises as `open` does.

        A server without ranges answers with status 200 and the whole file.
        """
        return self.open(f"{self.address}/{quote(model_id)}/resolve/{commit}/{quote(name)}", begin, end)

    def open(self, url: str, begin: int | None = None, end: int | None = None) -> http.client.HTTPResponse:
        """The response at the end of a chain of redirects.

        Raises urllib.error.HTTPError for an error status, OSError or http.client.HTTPException if no server answers,
        UntrustedRedirectError, NotAHubError.
        """
        opener = urllib.request.build_opener(_NoRedirects)
        for _ in range(REDIRECTS):
            request = urllib.request.Request(url, headers={"User-Agent": "vedette"})  # noqa: S310 - checked below
            if begin is not None:
                request.add_header("Range", f"bytes={begin}-{'' if end is None else end - 1}")
            if self.token and _origin(urlsplit(url)) == _origin(urlsplit(self.address)):
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            if urlsplit(url).scheme not in {"http", "https"}:
                raise NotAHubError
            response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
            if response.status not in _REDIRECTED:
                return response
            response.close()
            target = urljoin(url, response.headers.get("Location") or "")
            here, there = urlsplit(url), urlsplit(target)
            secure = here.scheme == there.scheme == "https"
            if not secure and (here.scheme, here.hostname) != (there.scheme, there.hostname):
                raise UntrustedRedirectError
            url = target
        raise NotAHubError


def hub_connection() -> HubConnection:
    """The hub of this machine's settings, with the person's token."""
    return HubConnection(hub_address(), _read_token())


def hub_address() -> str:
    """The hub's address as its client finds it, without a user name and password."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def hub_is_forbidden() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask a hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _read_token() -> str | None:
    """The token in the environment, or in the file that `hf auth login` writes; None without one."""
    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    if token:
        return token.strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface")
    try:
        path = Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
        return read_whole(path, MAX_TOKEN_BYTES).decode("ascii").strip() or None
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Returns redirects to the caller, who checks where they lead."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port
