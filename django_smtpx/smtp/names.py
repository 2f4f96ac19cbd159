"""Whether a certificate is for one of several names: the rules of RFC 9525 section 6."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Address, IPv6Address

_WILDCARD = "*"
_LEAST_BELOW_WILDCARD = 2
"""Labels: a whole top-level domain has no certificate."""


def is_for(names: Collection[str], addresses: Collection[str], references: Collection[str]) -> bool:
    """Whether a certificate that holds these DNS names and IP addresses is for any of
    ``references``; each is a name (A-labels) or an IP address.
    """
    shown = {_address(each) for each in addresses} - {None}
    for reference in references:
        address = _address(reference)
        if address is not None:
            if address in shown:
                return True
        elif any(matches(name, reference) for name in names):
            return True
    return False


def matches(name: str, reference: str) -> bool:
    """Whether ``name``, as a certificate has it, stands for the name ``reference``.

    A wildcard is the whole first label, and stands for one label (RFC 9525 section 6.3).
    """
    shown, wanted = _labels(name), _labels(reference)
    if not wanted or len(shown) != len(wanted) or not all(shown) or not all(wanted):
        return False
    if shown[0] == _WILDCARD:
        return len(shown) > _LEAST_BELOW_WILDCARD and shown[1:] == wanted[1:]
    return shown == wanted


def is_below(name: str, parent: str) -> bool:
    """Whether ``name`` is ``parent`` or below it, as constraints have it (RFC 5280 section
    4.2.1.10): everything is below "".
    """
    shown, above = _labels(name), _labels(parent.lstrip(".")) if parent.strip(".") else []
    return len(shown) >= len(above) and shown[len(shown) - len(above) :] == above


def _labels(name: str) -> list[str]:
    """Return the labels in lower case; of a name that is not ASCII none fits."""
    plain = name.removesuffix(".")
    return plain.lower().split(".") if plain.isascii() else []


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip())
    except ValueError:
        return None
