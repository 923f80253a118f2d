"""Who reaches a vedette, how, and what they may: from the settings, and checked before anything starts."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from vedette.errors import ConfigError
from vedette.events import Note
from vedette.language.message import Message
from vedette.serve.access.accounts import ClientLimits
from vedette.serve.access.principal import Role
from vedette.settings.table import Settings

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on

_REQUESTS_PER_MINUTE = 600
"""For each client from elsewhere: ten frames a second."""
_AT_ONCE, _AT_ONCE_HERE = 32, 128
"""Requests that one client may have in flight, from elsewhere and from this machine; the queue holds 256 of all."""


@dataclass(frozen=True)
class Exposure:
    """How a vedette is reached."""

    is_local: bool
    """Whether only programs of this machine can connect."""
    uses_https: bool
    open_role: Role
    """What a client without a key may do."""

    @property
    def scheme(self) -> str:
        return "https" if self.uses_https else "http"


def exposure_of(settings: Settings) -> Exposure:
    """The exposure that the settings ask for. Raises ConfigError where they open a network without saying so."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigError("instance.tls_key_missing")
    is_local, uses_https = is_loopback_host(settings.host), settings.https or settings.tls_cert is not None
    if not (is_local or uses_https or settings.insecure):
        raise ConfigError("instance.network_unguarded", host=settings.host)
    is_open = not settings.require_key and (is_local or (settings.insecure and not uses_https))
    return Exposure(is_local, uses_https, Role.USE if is_open else Role.NOBODY)


def client_limits(settings: Settings, exposure: Exposure) -> ClientLimits:
    """What each key or address may use. On loopback all programs share an address, and they are the owner's guests."""
    per_minute = None if exposure.is_local else _REQUESTS_PER_MINUTE
    at_once = _AT_ONCE_HERE if exposure.is_local else _AT_ONCE
    return ClientLimits(
        settings.requests_per_minute or per_minute, settings.tokens_per_minute, settings.requests_at_once or at_once
    )


def is_loopback_host(host: str) -> bool:
    """Whether only this machine can reach a listener on this address or name."""
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return host == "localhost"  # `listen` says what is wrong
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def network_addresses(host: str) -> Sequence[str]:
    """The addresses at which other machines reach a listener on `host`, as they stand in a URL."""
    if host not in _EVERY_ADDRESS:
        return (f"[{host}]" if ":" in host else host,)
    up = {name for name, facts in psutil.net_if_stats().items() if facts.isup}
    found = [
        ipaddress.ip_address(each.address.partition("%")[0])
        for name, addresses in psutil.net_if_addrs().items()
        if name in up
        for each in addresses
        if each.family == socket.AF_INET or (each.family == socket.AF_INET6 and host == "::")
    ]
    return [
        f"[{address}]" if address.version == 6 else str(address)
        for address in found
        if not (address.is_loopback or address.is_link_local)
    ]


def exposure_notes(exposure: Exposure, host: str, port: int) -> list[Note]:
    """What a person reads of a vedette that other machines reach: where, and what they may."""
    if exposure.is_local:
        return []
    urls = tuple(f"{exposure.scheme}://{address}:{port}" for address in network_addresses(host))
    if exposure.open_role is Role.USE:
        return [Note(Message("instance.reached_by_all", urls=urls))]
    if exposure.uses_https:
        return [Note(Message("instance.reached_with_key", urls=urls))]
    return [Note(Message("instance.reached_with_key_in_the_clear", urls=urls))]
