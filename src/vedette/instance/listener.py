"""The address that vedette listens on."""

import errno
import socket

from vedette.errors import PortInUseError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortInUseError, also for an address that is not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except (OSError, UnicodeError) as error:
        raise PortInUseError("instance.no_address", host=host) from error
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            other = port + 1 if port < 65_535 else port - 1
            raise PortInUseError("instance.port_taken", port=port, other=other) from error
        if error.errno == errno.EACCES:
            raise PortInUseError("instance.port_needs_rights", port=port) from error
        raise PortInUseError("instance.no_address", host=host) from error
    return listener


def page_url(host: str, port: int, scheme: str = "http") -> str:
    """Where a browser on this machine finds the page, without a trailing slash."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{scheme}://{reachable}:{port}"
