"""The names of an address, and whether they lead back to it (RFC 1912 section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from django_smtpx.mx.answers import Answer

MOST_NAMES = 10


class Lookup(Protocol):
    """As much of a :class:`~django_smtpx.mx.dns.Resolver` as is needed here."""

    def ptr(self, address: str) -> Answer[str]:
        """Return the names of an IP address."""

    def addresses(self, host: str) -> Answer[str]:
        """Return the IP addresses of ``host``."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of an address, and those of them whose addresses it is among."""

    named: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()


def names_of(resolver: Lookup, address: str) -> Names:
    """Return the names of an address.

    Raises :class:`~django_smtpx.smtp.errors.ResolveError` where nobody can say.
    """
    named = resolver.ptr(address).records[:MOST_NAMES]
    return Names(named, tuple(name for name in named if leads_to(resolver, name, address)))


def leads_to(resolver: Lookup, name: str, address: str) -> bool:
    """Whether ``address`` is one of a name's."""
    wanted = ip_address(address)
    return any(ip_address(one) == wanted for one in resolver.addresses(name).records)
