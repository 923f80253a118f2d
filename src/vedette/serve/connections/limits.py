"""The limits of connections, by what the process may open. Values, and the one call that raises its limit."""

import resource
from dataclasses import dataclass

from vedette.units import MIB

_KEPT_DESCRIPTORS = 32
"""For vedette itself: its listener, logs, pipes of engine and standby, reading /proc, connections just accepted."""
_MOST_CONNECTIONS = 1024
_FEWEST_CONNECTIONS = 8
_MOST_DESCRIPTORS = 65_536
"""More is never used, and some programs walk through all descriptors that they may have."""


@dataclass(frozen=True)
class ConnectionLimits:
    """What a client may take. Each wait that a client can cause has an end here."""

    most: int = 512
    """Connections at the same time; beyond them only `reserved` more for health and status."""
    most_per_address: int = 128
    """The part of them that one other machine may have. Programs of this machine may have all."""
    reserved: int = 8
    header_s: float = 10.0
    """From a connection's start, or from the first byte of a further request, to the end of its headers."""
    header_bytes: int = 65_536
    idle_s: float = 75.0
    """Between two requests: longer than the usual proxy keeps a connection, so that the proxy closes first."""
    body_s: float = 10.0
    """A window of time: in each one at least `body_bytes_per_s` must come, until the body is whole."""
    body_bytes_per_s: float = 16_384.0
    write_s: float = 30.0
    """How long a client may read nothing of an answer that is ready for it."""
    held_bytes: int = 96 * MIB
    """All requests' bodies that are being read, wait or are answered."""
    held_bytes_per_client: int = 64 * MIB
    pages: int = 32
    pages_per_address: int = 16
    """The part of them that one other machine may have."""
    quiet_page_s: float = 30.0
    """Where all pages are taken, one from which nothing was heard for so long makes room for a new one."""
    heartbeat_s: float = 10.0
    """Between two pings of a page's socket; one that does not answer within half of it is closed."""
    check_s: float = 0.5
    """Time between two looks at the clocks above."""


def limits_for(descriptors: int) -> ConnectionLimits:
    """The limits where a process may open so many files: each connection may need a second one to the engine."""
    reserved = ConnectionLimits.reserved
    most = (descriptors - _KEPT_DESCRIPTORS - reserved) // 2
    most = max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, most))
    return ConnectionLimits(most=most, most_per_address=max(_FEWEST_CONNECTIONS, most // 4))


def raise_descriptor_limit() -> int:
    """Raise the number of files that this process may open as far as it may; return that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return most if soft == resource.RLIM_INFINITY else soft
