"""The other IP family, for a host whose policy refuses mail over one of them.

Many a host asks more of IPv6, such as reverse DNS, and refuses finally (5.7.x) what it would have
taken over IPv4. So the other one is tried, once. What was taken there is remembered by this process
for an hour.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from django_smtpx.mx.cache import Cache

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Options

REMEMBERED = 3600.0
"""Seconds for which a host is spoken to over the family that it took mail over."""

_MOST = 10_000
_POLICY = "5.7."


class Refusal(Protocol):
    """A refusal, of a session or of a recipient."""

    @property
    def code(self) -> int | None:
        """The reply's code."""

    @property
    def enhanced_code(self) -> str:
        """Its enhanced code."""

    @property
    def ip(self) -> str:
        """Whose reply it is."""


def is_policy(refusal: Refusal) -> bool:
    """Say whether it is a final one, by the host's policy (RFC 3463 section 3.8)."""
    final = refusal.code is not None and refusal.code // 100 == 5
    return final and refusal.enhanced_code.startswith(_POLICY)


def other_family(options: Options, ip: str) -> Options | None:
    """Return how to reach the same host over the family that ``ip`` is not of, if it has that."""
    if not ip:
        return None
    others = tuple(one for one in options.addresses if version(one) != version(ip))
    return replace(options, addresses=others) if others else None


def version(ip: str) -> int:
    """Return the family of an address: 4 or 6."""
    return ipaddress.ip_address(ip).version


def prefer(host: str, ip: str) -> None:
    """Remember that ``host`` took over the family of ``ip`` what it had refused over the other."""
    _preferred.put(host, version(ip), REMEMBERED)


def preferred(options: Options) -> Options:
    """Return ``options``, or such as go over the family that the host is known to prefer."""
    family = _preferred.get(options.host)
    if family is None:
        return options
    known = tuple(one for one in options.addresses if version(one) == family)
    return replace(options, addresses=known) if known else options


def forget() -> None:
    """Prefer nothing any more."""
    _preferred.clear()


_preferred: Cache[int] = Cache(time.monotonic, most=_MOST)
