"""Who asks: a role, and the client that limits and turns are counted for."""

from dataclasses import dataclass, field
from enum import IntEnum

from aiohttp import web


class Role(IntEnum):
    """What a client may do; each role may do what those before it may."""

    NOBODY = 0
    """Open the login page, and learn whether vedette is up."""
    LOOK = 1
    """See the pages, the status and the figures."""
    USE = 2
    """Ask the models."""
    ADMIN = 3
    """Change the served model, to one that the catalogue or this machine has."""
    OWNER = 4
    """What the account that runs vedette may: name directories, and see paths, command lines and process ids."""


@dataclass(frozen=True)
class Principal:
    """The sender of a request."""

    role: Role
    client: str
    """Whom to count it to: a key, or an address."""
    key: str | None = None
    """The name of its key; None without one."""
    key_digest: str | None = field(default=None, repr=False)
    """The hash of the key: another key may have its name later."""
    key_refused: bool = False
    """Whether it sent a key that is not known."""


_PRINCIPAL = web.RequestKey("principal", Principal)
_STRANGER = Principal(Role.NOBODY, "")


def note_principal(request: web.Request, principal: Principal) -> None:
    """Record who sends a request: decided once, by the doorman (doorman.py)."""
    request[_PRINCIPAL] = principal


def principal_of(request: web.Request) -> Principal:
    """Who sends a request; nobody with any right, where that was not decided."""
    principal: Principal = request.get(_PRINCIPAL, _STRANGER)
    return principal
