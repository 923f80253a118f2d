"""A Hugging Face hub's address and the person's token, and a model's files as the hub sends them for a plan.

For a few small parts of files, in vedette's own process: the standard library does. Downloads use the hub's own client
(hub_source.py), in a process of theirs. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and the file of `hf auth login` work as
in that client.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from vedette.files import read_whole
from vedette.models.store.fetching.model_source import Listing, RemoteFile, SourceError, Trouble
from vedette.models.store.fetching.web_access import (
    WRONG_CREDENTIALS,
    Headers,
    StatusError,
    WebAccess,
    body_of,
    read_answer,
    trouble_of_status,
    web_troubles,
)

MAX_TOKEN_BYTES = 4096
MAX_LISTING_BYTES = 32_000_000


@dataclass(frozen=True)
class HubConnection:
    """One model on one hub, and who asks for it."""

    model_id: str
    access: WebAccess = field(repr=False)

    def list_files(self) -> Listing:
        """The files of the main branch; a size is None if the hub does not say it."""
        with _hub_troubles():
            response = self.access.open(self._url(f"api/models/{quote(self.model_id)}?blobs=true"))
        data = read_answer(response, MAX_LISTING_BYTES + 1)
        if len(data) > MAX_LISTING_BYTES:
            raise SourceError(Trouble.ODD_ANSWER)
        try:
            info = json.loads(data)
            commit, siblings = info["sha"], info["siblings"]
            files = tuple(RemoteFile(each["rfilename"], _size(each.get("size")), version=commit) for each in siblings)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceError(Trouble.ODD_ANSWER) from error
        if not isinstance(commit, str) or not commit.isalnum() or not all(isinstance(file.name, str) for file in files):
            raise SourceError(Trouble.ODD_ANSWER)
        return Listing(commit, files)

    @contextlib.contextmanager
    def stream(self, file: RemoteFile, begin: int, end: int | None = None) -> Iterator[Iterator[bytes]]:
        url = self._url(f"{quote(self.model_id)}/resolve/{file.version}/{quote(file.name)}")
        whole = begin == 0 and end is None
        with _hub_troubles():
            response = self.access.open(url, None if whole else begin, end)
        with body_of(response, begin) as chunks:
            yield chunks

    def _url(self, path: str) -> str:
        return f"{self.access.address}/{path}"


def hub_connection(model_id: str) -> HubConnection:
    """A model on the hub of this machine's settings, with the person's token."""
    token = _read_token()
    return HubConnection(model_id, WebAccess(hub_address(), {"Authorization": f"Bearer {token}"} if token else {}))


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


@contextlib.contextmanager
def _hub_troubles() -> Iterator[None]:
    with web_troubles():
        try:
            yield
        except StatusError as error:
            raise hub_trouble(error.status, error.headers) from None


def hub_trouble(status: int, headers: Headers) -> SourceError:
    """The error for an error status of a hub."""
    if status == 403 or headers.get("X-Error-Code") == "GatedRepo":
        return SourceError(Trouble.TERMS, str(status))
    if headers.get("X-Error-Message") == WRONG_CREDENTIALS:
        return SourceError(Trouble.KEY_REFUSED, str(status))
    # The hub also answers 401 for a missing model.
    return SourceError(Trouble.NOT_FOUND, str(status)) if status == 401 else trouble_of_status(status, headers)


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
