"""What the DNS says, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """The records of one type at a name; none is an answer, too.

    ``name`` is the one asked for and ``canonical`` the one at the end of its
    CNAMEs, both in lower case without the last dot. ``exists`` is False where
    there is no such name (NXDOMAIN, RFC 8020). ``secure`` says that a resolver
    that the site trusts has validated all of it with DNSSEC, each CNAME on the
    way included, or the proof that there is nothing (RFC 4035 section 3.2.3).
    """

    name: str
    canonical: str
    records: tuple[T, ...] = ()
    exists: bool = True
    secure: bool = False


class MX(NamedTuple):
    """A mail exchanger; ``host`` is "" for the null MX (RFC 7505)."""

    preference: int
    host: str
