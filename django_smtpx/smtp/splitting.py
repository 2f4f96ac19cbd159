"""Recipients cut into transactions that a server's limits allow, in linear time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPIENTS_MAX = 1000
"""Recipients in one transaction with a server that names no limit.

Each must take 100 (RFC 5321 section 4.5.3.1.8), most take 1,000, and 452 tells
where fewer are taken.
"""


def split(
    recipients: Sequence[str], most: int = RECIPIENTS_MAX, most_domains: int | None = None
) -> list[list[int]]:
    """Return the places of ``recipients`` in groups, each of at most ``most``, and of at most
    ``most_domains`` domains; their order is kept.
    """
    if most_domains is None:
        places = list(range(len(recipients)))
        return [places[at : at + most] for at in range(0, len(places), most)]
    groups: list[list[int]] = []
    domains: set[str] = set()
    for place, recipient in enumerate(recipients):
        domain = recipient.rpartition("@")[2].lower()
        crowded = len(domains) >= most_domains and domain not in domains
        if not groups or crowded or len(groups[-1]) >= most:
            groups.append([])
            domains = set()
        groups[-1].append(place)
        domains.add(domain)
    return groups
