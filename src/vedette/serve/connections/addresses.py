"""Whom a connection is counted to. Pure."""

import ipaddress


def address_of(peer: object) -> str:
    """Whom to count a connection to: an IPv4 address, or an IPv6 network, which is one customer's."""
    host = peer[0] if isinstance(peer, tuple) and peer else ""
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return "::1"  # a Unix socket: this machine
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address) if address.is_loopback else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def is_loopback(address: str) -> bool:
    """Whether connections counted to `address_of`'s answer come from this machine."""
    return "/" not in address and ipaddress.ip_address(address).is_loopback
