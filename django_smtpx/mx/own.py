"""Which addresses are those of this machine."""

from __future__ import annotations

import ipaddress
import socket

_SMTP_PORT = 25
_NOBODYS = "192.0.2.1"
"""An address of no machine at all (RFC 5737)."""


def is_own_address(address: str, port: int) -> bool:
    """Say whether a mail server at ``address`` and ``port`` would be on this machine.

    A loopback address is so on port 25 only: nobody publishes one for mail, and who uses another
    port has said himself where the servers are.
    """
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        return is_own_address(str(mapped), port)
    if ip.is_unspecified:
        return True
    if ip.is_loopback:
        return port == _SMTP_PORT
    # Some systems let anybody bind everything, and say nothing by it.
    return not ip.is_multicast and _can_bind(address) and not _can_bind(_NOBODYS)


def public_address_towards(address: str) -> str:
    """Return the address that this machine connects to ``address`` from, "" where it cannot, or
    where that one is private: behind a translation it means nothing to others.

    No packet leaves for that.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, _SMTP_PORT))
            own = str(sock.getsockname()[0])
    except OSError:
        return ""
    return own if ipaddress.ip_address(own).is_global else ""


def _can_bind(address: str) -> bool:
    """Say whether the system knows an address for its own; no packet leaves for that."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
