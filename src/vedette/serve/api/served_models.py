"""`/api/models` and `/api/swap`: what is served, what could be, and the change from one to the other."""

import asyncio
import ipaddress
import time

import msgspec
from aiohttp import web

from vedette.errors import BadInputError, ForbiddenError, ModelNotFoundError
from vedette.serve.backend import Backend, Served

_MOST_BYTES = 8192


class Swap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wish to serve `model` in the place of `replace`."""

    model: str
    replace: str | None = None


class Models:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._swapping: set[asyncio.Future[Served]] = set()

    async def list(self, request: web.Request) -> web.Response:
        """Every model that is served or lies here."""
        served = [
            {"name": each.name, "state": each.status_json().get("state"), "serving": True, "sees": each.sees}
            for each in self._backend.served
            if each.name is not None
        ]
        names = {each["name"] for each in served}
        others = [
            {"name": name, "state": "installed", "serving": False, "sees": None}
            for name in self._backend.installed()
            if name not in names
        ]
        body = {"models": [*served, *others], "swap_allowed": self._may_swap(request)}
        return web.json_response(body, headers={"Cache-Control": "no-store"})

    async def swap(self, request: web.Request) -> web.Response:
        """Answers once the model does. Raises VedetteError.

        Whoever comes over the network may only change what is served where requests may, and only to what lies here.
        """
        began = time.monotonic()
        wish = await _read(request)
        if not self._may_swap(request):
            raise ForbiddenError(
                "Another machine may not change what is served.", "Allow it with `vedette up --allow-swap`."
            )
        if not _from_here(request) and wish.model not in self._backend.installed():
            raise ModelNotFoundError(f"There is no model named {wish.model[:200]!r} here.", "See /api/models.")
        served = await self._swap(wish)
        elapsed_ms = round((time.monotonic() - began) * 1000)
        return web.json_response({"model": served.name, "elapsed_ms": elapsed_ms})

    async def _swap(self, wish: Swap) -> Served:
        """What lies here is changed to even when who asked is gone, as a page is that is loaded anew."""
        swapping = asyncio.ensure_future(self._backend.swap(wish.model, wish.replace))
        if wish.model not in self._backend.installed():
            return await swapping  # nobody's download goes on
        self._swapping.add(swapping)
        swapping.add_done_callback(self._forget)
        return await asyncio.shield(swapping)

    def _forget(self, swapping: "asyncio.Future[Served]") -> None:
        self._swapping.discard(swapping)
        if not swapping.cancelled():
            swapping.exception()  # whoever still waited has been told

    def _may_swap(self, request: web.Request) -> bool:
        return self._backend.allow_swap or _from_here(request)


async def _read(request: web.Request) -> Swap:
    if (request.content_length or _MOST_BYTES + 1) > _MOST_BYTES:
        raise BadInputError("The wish is missing or too long.", 'Send {"model": "NAME"}.')
    try:
        return msgspec.json.decode(await request.read(), type=Swap)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"The wish cannot be read: {error}.", 'Send {"model": "NAME"}.') from error


def _from_here(request: web.Request) -> bool:
    """Whether the caller is a program of this machine: on a network address of its own, both ends have that."""
    local = request.transport.get_extra_info("sockname") if request.transport else None
    return is_here(request.remote, local[0] if local else None)


def is_here(remote: str | None, local: str | None = None) -> bool:
    """Whether a connection's other end, given this one's address, is this machine."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback) or remote == local
