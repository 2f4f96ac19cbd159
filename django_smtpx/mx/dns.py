"""What the DNS says about a domain's mail: one resolver, with what it knows kept for a while.

It asks recursive servers, the system's or others, and never the authoritative ones. Whether an
answer was validated with DNSSEC is for those servers to say, by the AD bit (RFC 4035 section
3.2.3), and that is heard only where the site declares that it trusts them and the way to them.

"There is no such name" and "there is no such record" are answers. That nobody could say is a
:class:`.ResolveError`, and temporary: mail waits for a better day.
"""

from __future__ import annotations

import ipaddress
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.rdata import GenericRdata

from django_smtpx.mx.answers import MX, Answer
from django_smtpx.mx.cache import Cache
from django_smtpx.mx.servers import Failed, Question, Servers, is_address
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.smtp.wording import because, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from dns.name import Name
    from dns.rdatatype import RdataType
    from dns.rrset import RRset

T = TypeVar("T")

MOST_ALIASES = 8
"""So many CNAMEs are followed one behind another."""

LONGEST = 86_400
LONGEST_WITHOUT = 10_800
"""For so many seconds an answer is believed at most, and one that there is nothing (RFC 2308
section 5 has one to three hours)."""

_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_ASKABLE = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_LONGEST_NAME = 253
_UNUSABLE = (255, 255, 255)
"""Usage, selector and matching type that mean nothing (RFC 6698 section 7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """Whom to ask, and whom to believe.

    ``nameservers`` are IP addresses of recursive servers, asked in this order;
    none: the system's. ``trust_ad`` says that they validate DNSSEC, and that
    nobody can alter what they say on its way here. ``timeout`` bounds one
    lookup, over all servers and tries, in seconds. Raises ValueError.
    """

    nameservers: tuple[str, ...] = ()
    port: int = 53
    trust_ad: bool = False
    timeout: float = 5.0

    def __post_init__(self) -> None:
        for address in self.nameservers:
            if not is_address(address):
                raise ValueError(
                    said(
                        "A name server is given by its IP address, not as %(address)s",
                        address=repr(address),
                    )
                )


class Resolver:
    """Asks for records by name. Thread-safe and fork-safe.

    Names come and go as A-labels. Each method raises :class:`.ResolveError`
    where nobody could say. No answer is waited for beyond ``within``, whatever
    the options say of one.
    """

    def __init__(
        self,
        options: ResolverOptions,
        *,
        within: Deadline | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self._within = within
        self._servers = Servers(options.nameservers, options.port)
        self._cache: Cache[Answer[Any]] = Cache(clock)

    def mx(self, domain: str) -> Answer[MX]:
        """Return the mail exchangers of ``domain``, the most preferred first.

        A null MX is one record with the host "" (RFC 7505). A record whose host
        is no host's name (an IP address, for one) is left out, unless there are
        no others: that nobody is to take for a domain without any.
        """
        return self._ask(domain, dns.rdatatype.MX, _exchangers, self._deadline())

    def addresses(self, host: str) -> Answer[str]:
        """Return the IP addresses of ``host``: its A and AAAA records.

        ``secure`` says that those of one type are, at least: a resolver makes up
        AAAA records that nobody signed where a network knows IPv6 alone (DNS64,
        RFC 6147), and a host does not lose its TLSA records by that. Where only
        one of them can be had, and there are any, it stands for itself.
        """
        deadline = self._deadline()
        found: list[Answer[str]] = []
        failures: list[ResolveError] = []
        for rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            if found and not found[0].exists:
                return found[0]  # whatever type is asked for (RFC 8020)
            try:
                found.append(self._ask(host, rdtype, _addresses, deadline))
            except ResolveError as error:
                failures.append(error)
        records = tuple(one for answer in found for one in answer.records)
        if failures and not records:
            raise failures[0]
        telling = [answer for answer in found if answer.records] or found
        first = next((answer for answer in telling if answer.secure), telling[0])
        return Answer(
            name=first.name,
            canonical=first.canonical,
            records=records,
            secure=first.secure,
        )

    def tlsa(self, name: str) -> Answer[TLSA]:
        """Return the TLSA records at ``name``, which begins with a port (RFC 6698 section 3)."""
        return self._ask(name, dns.rdatatype.TLSA, _certificates, self._deadline())

    def txt(self, name: str) -> Answer[str]:
        """Return the TXT records at ``name``, each with its strings joined."""
        return self._ask(name, dns.rdatatype.TXT, _texts, self._deadline())

    def cname(self, name: str) -> Answer[str]:
        """Return what ``name`` itself is an alias of, if it is one; nothing is followed."""
        return self._ask(name, dns.rdatatype.CNAME, _targets, self._deadline())

    def ptr(self, address: str) -> Answer[str]:
        """Return the names of an IP address (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
        name = ipaddress.ip_address(address).reverse_pointer
        return self._ask(name, dns.rdatatype.PTR, _targets, self._deadline())

    # -- asking ----------------------------------------------------------------------------------

    def _deadline(self) -> Deadline:
        limit = self.options.timeout
        return Deadline(limit if self._within is None else min(limit, self._within.left))

    def _ask(
        self,
        text: str,
        rdtype: RdataType,
        read: Callable[[RRset, Question], tuple[T, ...]],
        deadline: Deadline,
    ) -> Answer[T]:
        text = text.lower().rstrip(".")
        known = self._cache.get((text, rdtype))
        if known is not None:
            return known
        if len(text) > _LONGEST_NAME or not _ASKABLE.fullmatch(text):
            return Answer(name=text, canonical=text, exists=False)
        walk = _Walk(Question(dns.name.from_text(text), rdtype, dnssec=self.options.trust_ad))
        while not walk.over:
            try:
                walk.take(self._servers.ask(walk.question, deadline))
            except Failed as failure:
                raise walk.failed(str(failure)) from failure
        answer = Answer(
            name=text,
            canonical=_text(walk.question.name),
            records=read(walk.records, walk.first) if walk.records else (),
            exists=walk.exists,
            secure=walk.secure and self.options.trust_ad,
        )
        self._cache.put((text, rdtype), answer, walk.seconds)
        return answer


class _Walk:
    """From a question along its CNAMEs to the records, or to the word that there are none.

    A server mostly returns the whole way at once; where it stops at an alias,
    ``question`` is what is to be asked next. ``secure`` says that each answer
    so far was validated, ``seconds`` for how long the whole may be believed.
    """

    def __init__(self, question: Question) -> None:
        self.first = self.question = question
        self.over = False
        self.exists = True
        self.secure = True
        self.seconds = LONGEST
        self.records: RRset | None = None
        self._seen = [question.name]

    def take(self, message: dns.message.Message) -> None:
        """Go as far as this answer leads. Raises ResolveError where that is nowhere."""
        self.secure = self.secure and bool(message.flags & dns.flags.AD)
        moved = False
        while (records := self._at_hand(message, self.first.rdtype)) is None:
            alias = self._at_hand(message, dns.rdatatype.CNAME)
            if alias is None:
                break
            if isinstance(alias[0], GenericRdata):
                raise self.failed(said("its CNAME record is malformed"))
            self._follow(alias[0].target)
            self._believe_for(alias.ttl)
            moved = True
        self.exists = message.rcode() != dns.rcode.NXDOMAIN
        if records is not None and not self.exists:
            raise self.failed(
                said("a server says that there is no such name, and gives its records")
            )
        if records is not None:
            self.records = records
            self._believe_for(records.ttl)
            self.over = True
        elif not self.exists or not moved or _start_of_authority(message) is not None:
            self._believe_for(_seconds_without(message))
            self.over = True

    def failed(self, why: str) -> ResolveError:
        """Return the error for a walk that cannot go on."""
        if self.question.name == self.first.name:
            return failure(because(self.first, why))
        return failure(
            said(
                "%(question)s, an alias of %(name)s: %(why)s",
                question=self.first,
                name=_text(self.question.name),
                why=why,
            )
        )

    def _at_hand(self, message: dns.message.Message, rdtype: RdataType) -> RRset | None:
        return message.get_rrset(message.answer, self.question.name, dns.rdataclass.IN, rdtype)

    def _follow(self, target: Name) -> None:
        if target in self._seen:
            raise self.failed(said("its CNAME records go round in a circle"))
        if len(self._seen) > MOST_ALIASES:
            raise self.failed(
                said(
                    "there are more than %(most)s CNAME records in a row",
                    most=MOST_ALIASES,
                )
            )
        self._seen.append(target)
        self.question = Question(target, self.first.rdtype, dnssec=self.first.dnssec)

    def _believe_for(self, seconds: int) -> None:
        self.seconds = min(self.seconds, seconds)


def failure(why: str) -> ResolveError:
    """Return the error for a question that nobody could answer, which ``why`` begins with."""
    return ResolveError(
        said("The DNS gives no usable answer for %(why)s", why=why),
        phase="resolve",
        category="dns_error",
        action="retry",
        temporary=True,
    )


def _start_of_authority(message: dns.message.Message) -> RRset | None:
    return next((one for one in message.authority if one.rdtype == dns.rdatatype.SOA), None)


def _seconds_without(message: dns.message.Message) -> int:
    """Return for how long there is nothing (RFC 2308 section 5): not at all without an SOA."""
    start = _start_of_authority(message)
    return 0 if start is None else min(start.ttl, start[0].minimum, LONGEST_WITHOUT)


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


# -- records -------------------------------------------------------------------------------------
# What is malformed is a GenericRdata, with its bytes.


def _exchangers(records: RRset, question: Question) -> tuple[MX, ...]:
    read, malformed = _whole(records)
    found = sorted((one.preference, _text(one.exchange)) for one in read)
    hosts: dict[str, MX] = {}
    for preference, host in found:
        if _is_host(host):
            hosts.setdefault(host, MX(preference, host))
    if hosts:
        return tuple(hosts.values())
    if len(records) == 1 and found and found[0][1] == ".":
        return (MX(found[0][0], ""),)
    listed = ", ".join([*(f"{preference} {host!r}" for preference, host in found), *malformed])
    raise failure(
        said(
            "%(question)s: no record names a host that mail could go to (%(listed)s)",
            question=question,
            listed=listed,
        )
    )


def _is_host(name: str) -> bool:
    """Whether a host can be called so (RFC 1123 section 2.1; "_" is common, and harms nobody)."""
    return (
        len(name) <= _LONGEST_NAME
        and _HOST.fullmatch(name) is not None
        and not name.rpartition(".")[2].isdigit()
    )


def _addresses(records: RRset, question: Question) -> tuple[str, ...]:
    return tuple(one.address for one in _some(records, question))


def _certificates(records: RRset, _: Question) -> tuple[TLSA, ...]:
    """Return the malformed ones, too: that a server has any is what counts (RFC 7672 section 2.2),
    and nobody can use them.
    """
    found = []
    for one in records:
        if isinstance(one, GenericRdata):
            usage, selector, mtype = (*one.data, *_UNUSABLE)[:3]
            found.append(TLSA(usage, selector, mtype, one.data[3:]))
        else:
            found.append(TLSA(one.usage, one.selector, one.mtype, bytes(one.cert)))
    return tuple(found)


def _texts(records: RRset, question: Question) -> tuple[str, ...]:
    read = _some(records, question)
    return tuple(b"".join(one.strings).decode(errors="replace") for one in read)


def _targets(records: RRset, question: Question) -> tuple[str, ...]:
    return tuple(_text(one.target) for one in _some(records, question))


def _whole(records: RRset) -> tuple[list[Any], list[str]]:
    """Return the records that could be read, and the text of the others."""
    malformed = [one for one in records if isinstance(one, GenericRdata)]
    read = [one for one in records if not isinstance(one, GenericRdata)]
    return read, [one.to_text() for one in malformed]


def _some(records: RRset, question: Question) -> list[Any]:
    """Return the records that could be read. Raises ResolveError where there are none."""
    read, malformed = _whole(records)
    if not read:
        raise failure(
            said(
                "%(question)s: each record is malformed (%(malformed)s)",
                question=question,
                malformed=", ".join(malformed),
            )
        )
    return read
