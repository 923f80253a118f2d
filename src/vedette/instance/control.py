"""The client of a running vedette: its status, and another model in the place of a served one."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from vedette.errors import NotRunningError, RemoteError
from vedette.events import Notify, ServiceStatus, StatusChanged, parse_status
from vedette.instance.certificate import served_certificate
from vedette.outputs import read_at_most
from vedette.serve.access.owner_key import read_owner_key
from vedette.settings.home import Home
from vedette.tasks import running
from vedette.units import MIB

_LOOK_EVERY_S = 0.3
_STATUS_WITHIN_S = 3
_CONNECT_WITHIN_S = 5
_MOST_BYTES = 16 * MIB
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a document raises that no vedette has sent."""


@dataclass(frozen=True)
class Way:
    """How to speak to a running vedette."""

    url: str
    """Where it serves, without a trailing slash."""
    key: str | None = field(default=None, repr=False)
    """The owner's; None for what everybody may."""
    certificate: Path | None = None
    """The one that it serves with, if it uses HTTPS."""

    def session(self, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        """A session that sends the key, and takes no other server for this vedette."""
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        connector = None if self.certificate is None else aiohttp.TCPConnector(ssl=_trusting(self.certificate))
        return aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector)


def way_to(home: Home, url: str) -> Way:
    """The way to the vedette of a home, which serves on `url`."""
    certificate = served_certificate(home) if url.startswith("https:") else None
    return Way(url, read_owner_key(home.access), certificate)


async def read_status(way: Way) -> ServiceStatus | None:
    """How a running vedette stands; None if nothing, or no vedette, answers there in time."""
    timeout = aiohttp.ClientTimeout(total=_STATUS_WITHIN_S)
    try:
        async with way.session(timeout) as session, session.get(f"{way.url}/api/status") as response:
            return parse_status(await _read_object(response))
    except (aiohttp.ClientError, asyncio.TimeoutError, *_UNREADABLE):
        return None


async def swap(way: Way, model: str, replace: str | None, notify: Notify | None = None) -> Mapping[str, Any]:
    """Asks a running vedette to serve another model, and returns its answer: model, elapsed_ms.

    replace: the served model that goes; None lets vedette choose. notify: receives the steps of the change.
    Raises RemoteError if vedette refuses, NotRunningError if it goes away.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_WITHIN_S)
    watching = [_watch(way, notify)] if notify else []
    try:
        async with (
            running(*watching),
            way.session(timeout) as session,
            session.post(f"{way.url}/api/swap", json={"model": model, "replace": replace}) as response,
        ):
            answer = await _read_object(response)
    except (aiohttp.ClientError, asyncio.TimeoutError, *_UNREADABLE) as error:
        raise NotRunningError("instance.stopped_before_answer", url=way.url) from error
    if isinstance(answer.get("error"), dict):
        raise RemoteError(answer["error"])
    return answer


async def _read_object(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The JSON object of a response. Raises ValueError for anything else: another program may have the port."""
    body = await read_at_most(response.content.iter_any(), _MOST_BYTES)
    return msgspec.json.decode(body or b"", type=dict[str, Any])


async def _watch(way: Way, notify: Notify) -> None:
    """Tells each new step of the model that is changing."""
    began, last = time.monotonic(), None
    while True:
        status = await read_status(way)
        changing = next((each for each in (status.models if status else ()) if each.next_model), None)
        if changing is not None and changing.status != last:
            last = changing.status
            notify(StatusChanged(last, round((time.monotonic() - began) * 1000)))
        await asyncio.sleep(_LOOK_EVERY_S)


def _trusting(certificate: Path) -> ssl.SSLContext:
    """Trusts this one certificate, whatever name it is for and whichever authority signed it."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
