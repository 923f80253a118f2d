"""A model of NVIDIA's catalogue (NGC), over the REST interface that its own client uses.

The interface lists a version's files with sizes and hashes, and gives for each file an address that is signed for some
minutes: each part of a file is asked for anew. Without a key the guest's addresses are asked, which have what everybody
may download. NGC_CLI_API_URL and NGC_CLI_AUTH_URL name other servers, as for that client.
"""

import base64
import binascii
import contextlib
import json
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vedette.models.store.fetching.model_source import Listing, RemoteFile, SourceError, Trouble
from vedette.models.store.fetching.ngc_key import KEYS_PAGE, NgcKey, Token, read_ngc_key, read_token
from vedette.models.store.fetching.origin import NgcPath, parse_ngc_path
from vedette.models.store.fetching.web_access import (
    StatusError,
    WebAccess,
    body_of,
    check_way,
    read_answer,
    trouble_of_status,
    web_troubles,
)

API = "https://api.ngc.nvidia.com"
AUTHORITY = "https://authn.nvidia.com"
CATALOGUE = "https://catalog.ngc.nvidia.com"
PAGE_FILES = 500
MOST_PAGES = 20
MAX_PAGE_BYTES = 8_000_000
_TERMS = 412
"""The status for a model whose terms its page has to be accepted on."""


class NgcSource:
    """One version of a model, and the key of who asks for it. One token is used for all threads."""

    def __init__(self, path: NgcPath, key: NgcKey | None, api: str = API, authority: str = AUTHORITY) -> None:
        self._path = path
        self._key = key
        self._api = api
        self._authority = authority
        self._token: Token | None = None
        self._lock = threading.Lock()

    def list_files(self) -> Listing:
        files: list[RemoteFile] = []
        for number in range(MOST_PAGES):
            numbered = {"page-number": number} if number else {}
            page = self._ask(self._files_path(), {"page-size": PAGE_FILES, **numbered})
            try:
                files += [_remote_file(each) for each in page.get("modelFiles") or []]
                pages = (page.get("paginationInfo") or {}).get("totalPages", 1)
            except (KeyError, TypeError, AttributeError):
                raise SourceError(Trouble.ODD_ANSWER) from None
            if not isinstance(pages, int) or number + 1 >= pages:
                break
        return Listing(self._path.version, tuple(files))

    @contextlib.contextmanager
    def stream(self, file: RemoteFile, begin: int, end: int | None = None) -> Iterator[Iterator[bytes]]:
        answer = self._ask(self._download_path(), {"path": file.name})
        try:
            url = answer["urls"][0]
        except (KeyError, IndexError, TypeError):
            raise SourceError(Trouble.ODD_ANSWER) from None
        if not isinstance(url, str):
            raise SourceError(Trouble.ODD_ANSWER)
        whole = begin == 0 and end is None
        with web_troubles():
            check_way(self._api, url)
            # The address is signed: its server gets no key.
            response = WebAccess(url).open(url, None if whole else begin, end)
        with body_of(response, begin) as chunks:
            yield chunks

    def _ask(self, path: str, query: Mapping[str, object]) -> dict[str, Any]:
        """The JSON that the API answers with. A token that has ended early is asked for once more."""
        for renewed in (False, True):
            headers = self._headers(renewed)
            try:
                with web_troubles():
                    try:
                        url = f"{self._api}/v2/{path}?{urllib.parse.urlencode(query)}"
                        response = WebAccess(self._api, headers).open(url)
                    except StatusError as error:
                        raise self._trouble(error) from None
                document = json.loads(read_answer(response, MAX_PAGE_BYTES))
            except SourceError as error:
                if error.trouble is Trouble.KEY_REFUSED and not renewed and self._ends():
                    continue
                raise
            except (ValueError, RecursionError):
                raise SourceError(Trouble.ODD_ANSWER) from None
            if not isinstance(document, dict):
                raise SourceError(Trouble.ODD_ANSWER)
            return document
        raise AssertionError("the second answer is final")

    def _headers(self, renewed: bool) -> dict[str, str]:
        if self._key is None:
            return {}
        with self._lock:
            if self._token is None or renewed or time.monotonic() > self._token.good_until_s:
                self._token = read_token(self._key, self._path, self._authority)
            return {"Authorization": f"Bearer {self._token.value}", **self._key.headers}

    def _ends(self) -> bool:
        return self._token is not None and self._token.good_until_s != float("inf")

    def _trouble(self, error: StatusError) -> SourceError:
        status = str(error.status)
        if error.status == _TERMS or (error.status == 403 and self._key is not None):
            return SourceError(Trouble.TERMS, status, self._page)
        if error.status in {401, 403}:
            trouble = Trouble.KEY_NEEDED if self._key is None else Trouble.KEY_REFUSED
            return SourceError(trouble, status, KEYS_PAGE)
        if error.status == 404:
            return SourceError(Trouble.NOT_FOUND, status, self._page)
        return trouble_of_status(error.status, error.headers)

    @property
    def _page(self) -> str:
        """The model's page for people, where its terms are."""
        path = self._path
        team = f"/teams/{path.team}" if path.team else ""
        return f"{CATALOGUE}/orgs/{path.org}{team}/models/{path.model}?version={path.version}"

    def _files_path(self) -> str:
        path = self._path
        if self._key is None:
            return "/".join(
                filter(None, ("models", path.org, path.team, path.model, "versions", path.version, "files"))
            )
        return f"{self._place()}/models/{path.model}/versions/{path.version}/files"

    def _download_path(self) -> str:
        path = self._path
        if self._key is None:
            return f"models/{self._place()}/{path.model}/{path.version}/files"
        return f"{self._place()}/models/{path.model}/{path.version}/files"

    def _place(self) -> str:
        return f"org/{self._path.org}" + (f"/team/{self._path.team}" if self._path.team else "")


def ngc_source(path: str, keys: Path, environment: Mapping[str, str] = os.environ) -> NgcSource:
    """The source of `org/team/model:version` for this machine's user. keys: the directory of vedette's own keys."""
    api = _address(environment, "NGC_CLI_API_URL", API)
    return NgcSource(
        parse_ngc_path(path), read_ngc_key(keys, environment), api, _address(environment, "NGC_CLI_AUTH_URL", AUTHORITY)
    )


def _address(environment: Mapping[str, str], variable: str, usual: str) -> str:
    """The address of a server that a variable may name, with or without `https://` before it."""
    given = (environment.get(variable) or usual).strip().rstrip("/")
    return given if "://" in given else f"https://{given}"


def _remote_file(entry: Mapping[str, Any]) -> RemoteFile:
    path, size = entry["path"], entry.get("sizeInBytes")
    if not isinstance(path, str):
        raise TypeError
    size_bytes = size if isinstance(size, int) and size >= 0 else None
    return RemoteFile(path, size_bytes, parse_sha256(entry.get("sha256_base64")))


def parse_sha256(text: object) -> str | None:
    """The hash in hexadecimal digits, of its 32 bytes or of those digits in base64; None if it is neither."""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return None
    if len(data) == 32:
        return data.hex()
    try:
        return bytes.fromhex(data.decode("ascii")).hex() if len(data) == 64 else None
    except ValueError:
        return None
