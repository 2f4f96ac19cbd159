"""One question put to the site's DNS servers, until one of them gives an answer that counts."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver

from django_smtpx.mx import waiting
from django_smtpx.mx.exchange import Silent, exchange
from django_smtpx.smtp.wording import also, joined, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.name import Name
    from dns.rdatatype import RdataType

    from django_smtpx.smtp.deadline import Deadline

PAYLOAD = 1232
"""The largest answer to be had over UDP, in bytes: no larger one is sure to travel unbroken."""

_RESOLV_CONF = "/etc/resolv.conf"

_ROUNDS = (1, 2)
"""Whoever did not answer is asked once more. A try lasts its weight's share of the time that is
left: a lost packet is made good soon, and a slow answer still has the longer part to come."""

_MEANING = {
    "SERVFAIL": said(
        "the domain's own servers do not answer it, or what they say contradicts its DNSSEC"
    ),
    "REFUSED": said("it does not resolve names for this machine"),
    "NOTIMP": said("it does not know such questions"),
    "FORMERR": said("it does not understand the question"),
}


class Failed(Exception):
    """No server answered; the text says which were asked, and what came of each."""


class _Unwilling(Exception):
    """This server answered that it has no answer; the next one may have."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. ``dnssec`` asks whether the answer was validated (RFC 6840 section 5.7)."""

    name: Name
    rdtype: RdataType
    dnssec: bool = False

    def __str__(self) -> str:
        name = self.name.to_text(omit_final_dot=True)
        return said("%(kind)s of %(name)s", kind=self.rdtype.name, name=name)

    def message(self, *, edns: bool) -> dns.message.QueryMessage:
        """Return the query, with a new random id."""
        flags = dns.flags.RD | (dns.flags.AD if self.dnssec else 0)
        if not edns:
            return dns.message.make_query(self.name, self.rdtype, flags=flags)
        return dns.message.make_query(
            self.name,
            self.rdtype,
            flags=flags,
            use_edns=0,
            payload=PAYLOAD,
            want_dnssec=self.dnssec,
        )


class Servers:
    """Recursive servers, in the order in which they are asked. Thread-safe and fork-safe.

    Without ``addresses`` they are those of the system, read again when its
    file has changed. Who is silent is asked after the others from then on.
    """

    def __init__(self, addresses: Sequence[str], port: int, *, file: str = _RESOLV_CONF) -> None:
        self._own = tuple(addresses)
        self._port = port
        self._file = file
        self._read: tuple[int, tuple[str, ...]] = (0, ())
        self._silent_at: dict[str, float] = {}

    def ask(self, question: Question, deadline: Deadline) -> dns.message.Message:
        """Return a whole answer: NOERROR or NXDOMAIN. Raises :class:`Failed`."""
        started = time.monotonic()
        came: dict[str, list[str]] = {address: [] for address in self._current()}
        asking = [(weight, address) for weight in _ROUNDS for address in came]
        while asking:
            weight, address = asking[0]
            share = deadline.left * weight / sum(one for one, _ in asking)
            del asking[0]
            if share <= 0:
                break
            waiting.look()
            try:
                return self._try(question, address, share)
            except Silent as silent:
                came[address].append(str(silent))
                self._silent_at[address] = time.monotonic()
            except _Unwilling as unwilling:
                came[address].append(str(unwilling))
                asking = [one for one in asking if one[1] != address]
        answers = also((self._sentence(address, told) for address, told in came.items()))
        taken = f"{time.monotonic() - started:.1f}"
        raise Failed(said("%(answers)s; after %(seconds)s s", answers=answers, seconds=taken))

    def _try(self, question: Question, address: str, limit: float) -> dns.message.Message:
        end = time.monotonic() + limit
        answer = exchange(question.message(edns=True), address, self._port, limit)
        if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and answer.edns < 0:
            # It knows no EDNS (RFC 6891 section 7).
            left = max(0.0, end - time.monotonic())
            answer = exchange(question.message(edns=False), address, self._port, left)
        _judge(answer)
        return answer

    def _current(self) -> list[str]:
        return sorted(
            self._own or self._of_the_system(), key=lambda one: self._silent_at.get(one, 0.0)
        )

    def _of_the_system(self) -> tuple[str, ...]:
        try:
            changed = Path(self._file).stat().st_mtime_ns
        except OSError:
            changed = -1
        if changed != self._read[0]:
            self._read = (changed, _named_in(self._file))
        return self._read[1]

    def _sentence(self, address: str, told: list[str]) -> str:
        text: str = said("was not asked, as the time was up")
        for number, one in enumerate(dict.fromkeys(told)):
            text = said("%(first)s and then %(next)s", first=text, next=one) if number else one
        if len(told) > len(set(told)):
            text = said("%(answer)s (asked twice)", answer=text)
        server = f"[{address}]" if ":" in address else address
        return said(
            "the DNS server %(server)s:%(port)s %(answer)s",
            server=server,
            port=self._port,
            answer=text,
        )


def _named_in(file: str) -> tuple[str, ...]:
    """Return the servers of ``file``; where it names none, there is one on this machine."""
    resolver = dns.resolver.Resolver(configure=False)
    with contextlib.suppress(OSError, UnicodeError, dns.exception.DNSException):
        resolver.read_resolv_conf(file)
    found = tuple(str(one) for one in resolver.nameservers)
    return tuple(dict.fromkeys(one for one in found if is_address(one))) or ("127.0.0.1",)


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _judge(answer: dns.message.Message) -> None:
    """Raise where it is no answer to the question, but only about this server."""
    rcode = answer.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        name = dns.rcode.to_text(rcode)
        reasons = _reasons(answer) or _MEANING.get(name, "")
        if reasons:
            name = joined("", (name, " (", reasons, ")"))
        raise _Unwilling(said("answered %(code)s", code=name))
    if rcode == dns.rcode.NOERROR and _refers(answer):
        raise _Unwilling(
            said("referred to other servers, instead of asking them (it does not recurse)")
        )


def _reasons(answer: dns.message.Message) -> str:
    """Return what the server says about its failure (RFC 8914)."""
    texts = []
    for option in answer.options:
        if isinstance(option, dns.edns.EDEOption):
            name = dns.edns.EDECode.to_text(option.code).replace("_", " ")
            texts.append(f"{name}: {option.text}" if option.text else name)
    return ", ".join(texts)


def _refers(answer: dns.message.Message) -> bool:
    """Whether it says nothing about the name but who else could be asked."""
    found = {rrset.rdtype for rrset in answer.authority}
    return (
        not answer.answer
        and not answer.flags & dns.flags.RA
        and dns.rdatatype.NS in found
        and dns.rdatatype.SOA not in found
    )
