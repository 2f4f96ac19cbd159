"""May a machine send mail for a domain? SPF as a receiver evaluates it (RFC 7208 section 4).

It asks as many questions as that allows and no more: ten terms that need any, ten servers or names
for one of them, two that find nothing (section 4.6.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from django_smtpx.mx.sending.spf_terms import Malformed, dotted, expand, is_record, parse
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django_smtpx.mx.answers import MX, Answer
    from django_smtpx.mx.sending.spf_terms import Address, Outcome, Term

T = TypeVar("T")

Result = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
"""What a receiver finds (section 2.6)."""

MOST_TERMS = 10
MOST_NAMES = 10
MOST_VOID = 2
_LONGEST_LABEL = 63
_DEFAULT_LOCAL_PART = "postmaster"


class Lookup(Protocol):
    """As much of a :class:`~django_smtpx.mx.dns.Resolver` as is needed here."""

    def txt(self, name: str) -> Answer[str]:
        """Return the TXT records at ``name``."""

    def addresses(self, host: str) -> Answer[str]:
        """Return the IP addresses of ``host``."""

    def mx(self, domain: str) -> Answer[MX]:
        """Return the mail exchangers of ``domain``."""

    def ptr(self, address: str) -> Answer[str]:
        """Return the names of an IP address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What SPF says: ``record`` is the domain's own, ``why`` the term that decided, or the error.

    ``lookups`` is how many terms needed a question, of the ten that they may be.
    """

    result: Result
    record: str = ""
    why: str = ""
    lookups: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who sends: an IP address, the reverse path, and the name said in EHLO."""

    address: str
    sender: str
    helo: str

    @property
    def parts(self) -> tuple[str, str]:
        """Local part and domain of the reverse path; for "" and a bare domain, postmaster's."""
        local, _, domain = (self.sender or self.helo).rpartition("@")
        return local or _DEFAULT_LOCAL_PART, domain


def check_host(resolver: Lookup, client: Client, domain: str) -> Judged:
    """Return whether ``client`` may send mail for ``domain`` (section 4).

    It raises nothing: a question that nobody could answer is a ``temperror``.
    """
    checking = _Checking(resolver, client)
    try:
        result, why = checking.check(domain)
    except _Ended as ended:
        result, why = ended.result, str(ended)
    return Judged(result=result, record=checking.first, why=why, lookups=checking.terms)


class _Ended(Exception):
    """The evaluation came to an error."""

    def __init__(self, result: Result, why: str) -> None:
        super().__init__(why)
        self.result = result


def _permanent(why: str) -> _Ended:
    return _Ended("permerror", why)


@dataclass(slots=True)
class _Checking:
    """One evaluation, and what it has cost so far."""

    resolver: Lookup
    client: Client
    terms: int = 0
    void: int = 0
    first: str = ""

    @property
    def ip(self) -> Address:
        address = ip_address(self.client.address)
        return getattr(address, "ipv4_mapped", None) or address

    def check(self, domain: str) -> tuple[Result, str]:
        """Return the result for one domain, and the term behind it."""
        if not _is_askable(domain):
            return "none", said(
                "%(domain)s is no domain that could have a record", domain=repr(domain)
            )
        record = self._record(domain)
        if record is None:
            return "none", said("%(domain)s has no SPF record", domain=domain)
        self.first = self.first or record
        try:
            mechanisms, redirect = parse(record)
        except Malformed as error:
            raise _permanent(
                said(
                    "The SPF record of %(domain)s is no record: %(error)s",
                    domain=domain,
                    error=error,
                )
            ) from error
        for term in mechanisms:
            if self._matches(term, domain):
                return term.outcome, said(
                    "%(term)s in the record of %(domain)s", term=term.text, domain=domain
                )
        if redirect is None:
            return "neutral", said("no term of the record of %(domain)s is about it", domain=domain)
        return self._redirected(redirect, domain)

    def _record(self, domain: str) -> str | None:
        records = [one for one in self._ask(self.resolver.txt, domain).records if is_record(one)]
        if len(records) > 1:
            raise _permanent(
                said(
                    "%(domain)s has %(count)s SPF records, and one is allowed",
                    domain=domain,
                    count=len(records),
                )
            )
        return records[0] if records else None

    def _redirected(self, term: Term, domain: str) -> tuple[Outcome | Result, str]:
        self._count(term)
        target = self._target(term, domain)
        result, why = self.check(target)
        if result == "none":
            raise _permanent(
                said(
                    "%(text)s leads to %(target)s, which has no SPF record",
                    text=term.text,
                    target=target,
                )
            )
        return result, why

    # -- mechanisms (section 5) --------------------------------------------------------------------

    def _matches(self, term: Term, domain: str) -> bool:
        if term.name == "all":
            return True
        if term.network is not None:
            return self.ip in term.network
        self._count(term)
        target = self._target(term, domain)
        if term.name == "include":
            return self._includes(term, target)
        if term.name == "ptr":
            return any(_is_within(name, target) for name in self._names())
        if term.name == "exists":
            found = self._found(target)
            return any(":" not in address for address in found)
        hosts = [target] if term.name == "a" else self._exchangers(target)
        return any(self._is_of(term, host) for host in hosts)

    def _includes(self, term: Term, target: str) -> bool:
        first = self.first
        result, _ = self.check(target)
        self.first = first
        if result == "none":
            raise _permanent(said("%(text)s names a domain without an SPF record", text=term.text))
        return result == "pass"

    def _exchangers(self, target: str) -> list[str]:
        answer = self._ask(self.resolver.mx, target)
        self._note(bool(answer.records))
        if len(answer.records) > MOST_NAMES:
            raise _permanent(
                said(
                    "%(target)s has more than %(most)s mail exchangers",
                    target=target,
                    most=MOST_NAMES,
                )
            )
        return [record.host for record in answer.records if record.host]

    def _is_of(self, term: Term, host: str) -> bool:
        """Whether the client's address is in the network of one of a host's."""
        length = term.lengths[0 if self.ip.version == 4 else 1]
        return any(
            self.ip in ip_network(f"{address}/{length}", strict=False)
            for address in self._found(host)
            if ip_address(address).version == self.ip.version
        )

    def _found(self, host: str) -> Iterable[str]:
        if not _is_askable(host, least=1):
            self._note(False)
            return ()
        found = self._ask(self.resolver.addresses, host).records
        self._note(bool(found))
        return found

    def _names(self) -> list[str]:
        """Return the names of the client's address that lead back to it (section 5.5)."""
        try:
            answer = self.resolver.ptr(str(self.ip))
        except ResolveError:
            return []
        self._note(bool(answer.records))
        return [name for name in answer.records[:MOST_NAMES] if self._leads_back(name)]

    def _leads_back(self, name: str) -> bool:
        try:
            found = self.resolver.addresses(name).records
        except ResolveError:
            return False
        return any(ip_address(address) == self.ip for address in found)

    # -- macros, limits ----------------------------------------------------------------------------

    def _target(self, term: Term, domain: str) -> str:
        return expand(term.domain, lambda letter: self._value(letter, domain)) or domain

    def _value(self, letter: str, domain: str) -> str:
        local, of_sender = self.client.parts
        if letter == "p":
            return self._own_name(domain)
        return {
            "s": f"{local}@{of_sender}",
            "l": local,
            "o": of_sender,
            "d": domain,
            "i": dotted(self.ip),
            "h": self.client.helo,
            "v": "in-addr" if self.ip.version == 4 else "ip6",
        }[letter]

    def _own_name(self, domain: str) -> str:
        names = self._names()
        best = [name for name in names if name == domain]
        below = [name for name in names if _is_within(name, domain)]
        return (best or below or names or ["unknown"])[0]

    def _count(self, term: Term) -> None:
        self.terms += 1
        if self.terms > MOST_TERMS:
            raise _permanent(
                said(
                    "the record needs more than %(most)s lookups; %(text)s is one too many",
                    most=MOST_TERMS,
                    text=term.text,
                )
            )

    def _note(self, found: bool) -> None:  # noqa: FBT001 (a fact)
        self.void += not found
        if self.void > MOST_VOID:
            raise _permanent(
                said(
                    "more than %(most)s lookups of the record find nothing",
                    most=MOST_VOID,
                )
            )

    def _ask(self, question: Callable[[str], Answer[T]], name: str) -> Answer[T]:
        try:
            return question(name)
        except ResolveError as error:
            raise _Ended("temperror", str(error)) from error


def _is_askable(name: str, *, least: int = 2) -> bool:
    """Whether a name could be in the DNS (section 4.3)."""
    labels = name.removesuffix(".").split(".")
    fits = all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    return len(labels) >= least and fits and len(name) <= 253


def _is_within(name: str, domain: str) -> bool:
    name, domain = name.lower().rstrip("."), domain.lower().rstrip(".")
    return name == domain or name.endswith(f".{domain}")
