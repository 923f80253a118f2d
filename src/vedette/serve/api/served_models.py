"""`/api/models` and `/api/swap`: which models are served, which could be, and the change from one to the other."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from aiohttp import web

from vedette.errors import BadInputError, ForbiddenError, ModelNotFoundError
from vedette.serve.access.principal import Principal, Role, principal_of
from vedette.serve.backend import Backend, Served
from vedette.serve.json_answer import json_answer

_MOST_BYTES = 8192


class Swap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order to serve `model`."""

    model: str
    """A name, a directory, or a Hugging Face id."""
    replace: str | None = None
    """The served model whose place it takes; without it, the one that was used longest ago."""


class Swapped(msgspec.Struct, frozen=True):
    """A swap that has ended: the model answers."""

    model: str | None
    elapsed_ms: int


class ListedModel(msgspec.Struct, frozen=True):
    """A model that is served, or whose files are on this machine."""

    name: str
    state: str
    """The engine's state; `installed` if it is not served."""
    serving: bool
    sees: bool | None
    """Whether it takes pictures; null where that is not known before it is served."""


class ModelList(msgspec.Struct, frozen=True):
    """All models of this machine."""

    models: tuple[ListedModel, ...]
    swap_allowed: bool
    """Whether this client may swap them."""


class Models:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._swapping: set[asyncio.Future[Served]] = set()

    async def list(self, request: web.Request) -> web.Response:
        """Answer with every model that is served or installed."""
        models = [
            ListedModel(each.name, each.status.state.value, True, each.sees)
            for each in self._backend.served
            if each.name is not None
        ]
        names = {each.name for each in models}
        models += [
            ListedModel(name, "installed", False, None) for name in self._backend.installed() if name not in names
        ]
        return json_answer(ModelList(tuple(models), self._may_swap(principal_of(request))))

    async def swap(self, request: web.Request) -> web.Response:
        """Answer once the model does. Raises VedetteError.

        Only the owner may name a directory, or fetch whatever a hub has.
        """
        began, principal = time.monotonic(), principal_of(request)
        order = await _read(request)
        if not self._may_swap(principal):
            raise ForbiddenError("serve.swap_forbidden")
        if principal.role < Role.OWNER and order.model not in self._nameable(principal):
            raise ModelNotFoundError("serve.model_not_installed", name=repr(order.model[:200]))
        served = await self._swap(order)
        return json_answer(Swapped(served.name, round((time.monotonic() - began) * 1000)))

    async def _swap(self, order: Swap) -> Served:
        """Swap to an installed model even if the client hangs up meanwhile, as a page does that is reloaded."""
        swapping = asyncio.ensure_future(self._backend.swap(order.model, order.replace))
        if order.model not in self._backend.installed():
            return await swapping  # a download ends with its client
        self._swapping.add(swapping)
        swapping.add_done_callback(self._forget)
        return await asyncio.shield(swapping)

    def _forget(self, swapping: "asyncio.Future[Served]") -> None:
        self._swapping.discard(swapping)
        if not swapping.cancelled():
            swapping.exception()  # a client that still waits gets it

    def _may_swap(self, principal: Principal) -> bool:
        return principal.role >= (Role.USE if self._backend.allow_swap else Role.ADMIN)

    def _nameable(self, principal: Principal) -> Sequence[str]:
        installed = self._backend.installed()
        return [*installed, *self._backend.known()] if principal.role >= Role.ADMIN else installed


async def _read(request: web.Request) -> Swap:
    if (request.content_length or _MOST_BYTES + 1) > _MOST_BYTES:
        raise BadInputError("serve.swap_missing")
    try:
        return msgspec.json.decode(await request.read(), type=Swap)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError("serve.swap_unreadable", error=str(error)) from error
