"""A model of ModelScope, over its plain HTTP interface. MODELSCOPE_DOMAIN and MODELSCOPE_API_TOKEN are respected."""

import contextlib
import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vedette.models.store.fetching.model_source import Listing, RemoteFile, SourceError, Trouble
from vedette.models.store.fetching.web_access import WebAccess, body_of, read_answer, web_troubles

DOMAIN = "www.modelscope.cn"
REVISION = "master"
MAX_LISTING_BYTES = 32_000_000
KEYS_PAGE = "https://www.modelscope.cn/my/myaccesstoken"


@dataclass(frozen=True)
class ModelscopeSource:
    """One model at one server, and who asks for it."""

    model_id: str
    access: WebAccess = field(repr=False)

    def list_files(self) -> Listing:
        with self._troubles():
            response = self.access.open(self._url("repo/files", Revision=REVISION, Recursive="True"))
        data = read_answer(response, MAX_LISTING_BYTES)
        try:
            files = json.loads(data)["Data"]["Files"]
            found = tuple(_remote_file(each) for each in files if each.get("Type") != "tree")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise SourceError(Trouble.ODD_ANSWER) from None
        return Listing(REVISION, found)

    @contextlib.contextmanager
    def stream(self, file: RemoteFile, begin: int, end: int | None = None) -> Iterator[Iterator[bytes]]:
        whole = begin == 0 and end is None
        with self._troubles():
            url = self._url("repo", Revision=file.version or REVISION, FilePath=file.name)
            response = self.access.open(url, None if whole else begin, end)
        with body_of(response, begin) as chunks:
            yield chunks

    def _url(self, what: str, **query: str) -> str:
        model = urllib.parse.quote(self.model_id)
        return f"{self.access.address}/api/v1/models/{model}/{what}?{urllib.parse.urlencode(query)}"

    @contextlib.contextmanager
    def _troubles(self) -> Iterator[None]:
        try:
            with web_troubles():
                yield
        except SourceError as error:
            if error.detail not in {"401", "403"}:
                raise
            trouble = Trouble.KEY_REFUSED if self.access.headers else Trouble.KEY_NEEDED
            raise SourceError(trouble, error.detail, KEYS_PAGE) from None


def modelscope_source(model_id: str, environment: Mapping[str, str] = os.environ) -> ModelscopeSource:
    given = (environment.get("MODELSCOPE_DOMAIN") or DOMAIN).strip().rstrip("/")
    token = environment.get("MODELSCOPE_API_TOKEN", "").strip()
    headers = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
    return ModelscopeSource(model_id, WebAccess(given if "://" in given else f"https://{given}", headers))


def _remote_file(entry: Mapping[str, Any]) -> RemoteFile:
    path, size, sha256, commit = (entry.get(name) for name in ("Path", "Size", "Sha256", "Revision"))
    if not isinstance(path, str):
        raise TypeError
    size_bytes = size if isinstance(size, int) and size >= 0 else None
    known = sha256.lower() if isinstance(sha256, str) and re.fullmatch("[0-9A-Fa-f]{64}", sha256) else None
    version = commit if isinstance(commit, str) and re.fullmatch("[0-9A-Za-z._-]{1,100}", commit) else REVISION
    return RemoteFile(path, size_bytes, known, version=version)
