"""What the sending domain is looked at with: who sends, from where, and a resolver in good time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from django_smtpx.addresses import a_labels
from django_smtpx.mx.own import public_address_towards
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.options import local_helo_name

if TYPE_CHECKING:
    from django_smtpx.mailer import MXOptions
    from django_smtpx.mx.dns import Resolver

LIMIT = 6.0
"""Seconds for all questions about the sending domain together."""
LOOKUP = 2.0
"""Seconds for one of them."""

_ANYBODY = ("192.0.2.1", "2001:db8::1")
"""Addresses that the way to is that to the internet: documentation's own, in both families."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Who sends: the domain of From, that of the reverse path, the name said in EHLO, and the
    addresses that others see mail come from, none where that is not known.

    ``sender`` is the reverse path; where that is null its domain is EHLO's name.
    """

    resolver: Resolver
    from_domain: str
    sender: str
    helo: str
    addresses: tuple[str, ...]

    @property
    def domain(self) -> str:
        """The domain that failure reports go back to, as A-labels."""
        return labels(self.sender.rpartition("@")[2]) or self.helo


def world(mx: MXOptions, *, from_domain: str, sender: str, address: str = "") -> World:
    """Return it for a mailer that goes straight to domains; ``address`` is what a person says that
    others see, who are behind a translation (NAT) or a proxy.
    """
    from django_smtpx.mx.dns import Resolver

    quick = replace(mx.resolver, timeout=min(LOOKUP, mx.resolver.timeout))
    own = (address,) if address else _own(mx.template.source_address)
    return World(
        resolver=Resolver(quick, within=Deadline(LIMIT)),
        from_domain=labels(from_domain),
        sender=sender,
        helo=(mx.template.helo or local_helo_name()).lower(),
        addresses=own,
    )


def _own(bound: str | None) -> tuple[str, ...]:
    """Return the addresses that mail leaves this machine from, but for private ones."""
    if bound:
        return (bound,) if ip_address(bound).is_global else ()
    return tuple(filter(None, map(public_address_towards, _ANYBODY)))


def labels(domain: str) -> str:
    """Return a domain as the DNS has it; what cannot be one as it is."""
    try:
        return a_labels(domain).lower().rstrip(".")
    except ValueError:
        return domain.lower()
