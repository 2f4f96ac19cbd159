"""What the DNS says of the certificate that a server must show: where its TLSA records are, and
whether they count (RFC 7672 section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from django_smtpx.smtp import dane
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_smtpx.mx.answers import Answer
    from django_smtpx.smtp.dane import TLSA

T = TypeVar("T")


class Lookup(Protocol):
    """What is asked of a resolver."""

    def tlsa(self, name: str) -> Answer[TLSA]:
        """Return the TLSA records at ``name``."""

    def cname(self, name: str) -> Answer[str]:
        """Return what ``name`` itself is an alias of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dane:
    """The TLSA records of a server. It has none that count where ``name`` is "".

    ``name`` is where they are, such as ``_25._tcp.mx.example.com``. ``base``
    holds the name that they are about: the server is told it (SNI), and it is
    the first of the reference names. ``records`` are those that a certificate
    can be judged by; with none of them the server must have TLS, with whatever
    certificate (RFC 7672 section 2.2).
    """

    name: str = ""
    base: tuple[str, ...] = ()
    records: tuple[TLSA, ...] = ()

    @property
    def encrypts(self) -> bool:
        """Whether mail goes there in TLS only."""
        return bool(self.name)


NONE = Dane()


def find(resolver: Lookup, host: str, addresses: Answer[str], port: int) -> Dane:
    """Return the TLSA records of ``host``, of which ``addresses`` are known, at ``port``.

    They are looked for only where the DNS is secure, at the name behind the host's CNAMEs, and then
    at the host's own name (RFC 7672 section 2.2.2). Raises :class:`ResolveError`, a temporary one,
    where nobody can say whether there are any: somebody may be keeping them from us.
    """
    for base in _bases(resolver, host.lower().rstrip("."), addresses):
        name = f"_{port}._tcp.{base}"
        answer = _asked(resolver.tlsa, name, host)
        if answer.secure and answer.records:
            # A resolver gives them in whatever order; how a server is spoken to does not change.
            records = tuple(sorted(dane.usable(answer.records)))
            return Dane(name=name, base=(base,), records=records)
    return NONE


def _bases(resolver: Lookup, host: str, addresses: Answer[str]) -> Iterator[str]:
    """Give the names that TLSA records may be about, in the order to look."""
    if addresses.secure:
        yield addresses.canonical
    if addresses.canonical == host:
        return
    # An alias may be secure though what it leads to is not: it is its own zone's word then.
    if addresses.secure or _asked(resolver.cname, host, host).secure:
        yield host


def _asked(question: Callable[[str], Answer[T]], name: str, host: str) -> Answer[T]:
    try:
        return question(name)
    except ResolveError as error:
        error.message = said(
            "%(failure)s; without it, nobody knows what certificate %(host)s must show",
            failure=error.message,
            host=host,
        )
        error.tls_failure = "dnssec-invalid"
        raise
