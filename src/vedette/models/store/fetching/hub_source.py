"""Downloads from a Hugging Face hub with the hub's own client, which follows the hub's changes.

For the download's process alone (downloader.py): vedette itself never loads the client.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vedette.models.store.fetching.hub_connection import hub_trouble
from vedette.models.store.fetching.model_source import Listing, RemoteFile, SourceError, Trouble
from vedette.models.store.fetching.web_access import TIMEOUT_S, without_start

NETWORK_MODULES = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket"}
"""Modules of the client's errors when no hub answers; the library differs between its releases."""


@dataclass(frozen=True)
class HubSource:
    """One model on the hub that HF_ENDPOINT names, with the token that the client finds."""

    model_id: str

    def __post_init__(self) -> None:
        os.environ |= {
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            # Only plain HTTP can resume at any byte.
            "HF_HUB_DISABLE_XET": "1",
        }

    def list_files(self) -> Listing:
        from huggingface_hub import HfApi

        with client_errors():
            info = HfApi(endpoint=_endpoint()).model_info(self.model_id, files_metadata=True, timeout=TIMEOUT_S)
        if not info.sha:
            raise SourceError(Trouble.ODD_ANSWER, "no commit")
        return Listing(info.sha, tuple(_remote_file(each, info.sha) for each in info.siblings or []))

    @contextlib.contextmanager
    def stream(self, file: RemoteFile, begin: int, end: int | None = None) -> Iterator[Iterator[bytes]]:
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils._headers import build_hf_headers
        from huggingface_hub.utils._http import hf_raise_for_status

        # As stored: packed answers have other byte numbers, and lose what has arrived when they break off.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if begin > 0 or end is not None:
            headers["Range"] = f"bytes={begin}-{'' if end is None else end - 1}"
        url = hf_hub_url(self.model_id, file.name, revision=file.version, endpoint=_endpoint())
        with contextlib.ExitStack() as stack:
            with client_errors():
                response = stack.enter_context(get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S))
                hf_raise_for_status(response)
            yield without_start(_arriving(response), begin if response.status_code == 200 else 0)


def _endpoint() -> str | None:
    """The hub's address now; None for the client's own. The client alone would read it once, when it is loaded."""
    return os.environ.get("HF_ENDPOINT") or None


def _arriving(response: Any) -> Iterator[bytes]:
    with client_errors():
        yield from response.iter_raw()


def _remote_file(sibling: Any, commit: str) -> RemoteFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    return RemoteFile(sibling.rfilename, sibling.size, sha256, None if sha256 else sibling.blob_id, commit)


@contextlib.contextmanager
def client_errors() -> Iterator[None]:
    """Turns the client's errors into SourceError, without addresses and tokens."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HfHubHTTPError as error:
        trouble = hub_trouble(error.response.status_code, error.response.headers)
        gated = isinstance(error, errors.GatedRepoError)
        raise SourceError(Trouble.TERMS, trouble.detail) if gated else trouble from None
    except Exception as error:
        if not isinstance(error, (ConnectionError, TimeoutError)) and not _is_network_error(error):
            raise
        raise SourceError(Trouble.UNREACHABLE, type(error).__name__) from None


def _is_network_error(error: Exception) -> bool:
    return any(kind.__module__.partition(".")[0] in NETWORK_MODULES for kind in type(error).__mro__)
