"""The client of a running vedette: its status, and another model in the place of a served one."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from vedette.errors import NotRunningError, RemoteError
from vedette.events import Notify, ServiceStatus, StatusChanged, parse_status
from vedette.outputs import read_at_most
from vedette.tasks import running
from vedette.units import MIB

_LOOK_EVERY_S = 0.3
_STATUS_WITHIN_S = 3
_CONNECT_WITHIN_S = 5
_MOST_BYTES = 16 * MIB
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a document raises that no vedette has sent."""


async def read_status(url: str) -> ServiceStatus | None:
    """How a running vedette stands; None if nothing, or no vedette, answers there in time."""
    timeout = aiohttp.ClientTimeout(total=_STATUS_WITHIN_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/api/status") as response:
            return parse_status(await _read_object(response))
    except (aiohttp.ClientError, asyncio.TimeoutError, *_UNREADABLE):
        return None


async def swap(url: str, model: str, replace: str | None, notify: Notify | None = None) -> Mapping[str, Any]:
    """Asks a running vedette to serve another model, and returns its answer: model, elapsed_ms.

    replace: the served model that goes; None lets vedette choose. notify: receives the steps of the change.
    Raises RemoteError if vedette refuses, NotRunningError if it goes away.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_WITHIN_S)
    watching = [_watch(url, notify)] if notify else []
    try:
        async with (
            running(*watching),
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{url}/api/swap", json={"model": model, "replace": replace}) as response,
        ):
            answer = await _read_object(response)
    except (aiohttp.ClientError, asyncio.TimeoutError, *_UNREADABLE) as error:
        raise NotRunningError("instance.stopped_before_answer", url=url) from error
    if isinstance(answer.get("error"), dict):
        raise RemoteError(answer["error"])
    return answer


async def _read_object(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The JSON object of a response. Raises ValueError for anything else: another program may have the port."""
    body = await read_at_most(response.content.iter_any(), _MOST_BYTES)
    return msgspec.json.decode(body or b"", type=dict[str, Any])


async def _watch(url: str, notify: Notify) -> None:
    """Tells each new step of the model that is changing."""
    began, last = time.monotonic(), None
    while True:
        status = await read_status(url)
        changing = next((each for each in (status.models if status else ()) if each.next_model), None)
        if changing is not None and changing.status != last:
            last = changing.status
            notify(StatusChanged(last, round((time.monotonic() - began) * 1000)))
        await asyncio.sleep(_LOOK_EVERY_S)
