"""What rests inside of an open way: senders that were refused, domains that a person paused."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import getaddresses
from typing import TYPE_CHECKING

from django.db.models import Q

from django_smtpx import ledger, returnpaths
from django_smtpx.pacing.routes import (
    PROBE_LASTS,
    PROBES,
    Key,
    State,
    all_routes,
    bounded,
    found,
    hold,
    reopen,
    rows,
    take_probe,
)
from django_smtpx.pacing.slow import slowdown_of
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.mailer import Way
    from django_smtpx.models import Route
    from django_smtpx.pace import Slowdown

_MAIL_FROM = "MAIL FROM"
_FROM = "From"
"""So long the other mail waits for a sender's probe that is under way."""


@dataclass(frozen=True, slots=True)
class Resting:
    """Until when something rests (None: until a person resumes it).

    With ``ages`` the mail behind it ages meanwhile: a destination does not answer.
    """

    until: datetime | None
    ages: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be minded on a way that is open: by sender's key, and by recipient's domain.

    ``rests`` is set where the way itself was closed since by somebody else.
    """

    senders: Mapping[str, Resting]
    domains: Mapping[str, Resting]
    rests: Resting | None = None
    slowdown: Slowdown | None = None

    @property
    def wants_from_headers(self) -> bool:
        """Whether a row's From header has to be known to say whether it rests."""
        return any(key.startswith(f"{_FROM} ") for key in self.senders)


def envelope_key(address: str) -> str:
    """Return the key of a reverse path ("" is the null one); those with tokens share one."""
    return bounded(f"{_MAIL_FROM} <{_folded(returnpaths.without_token(address))}>")


def header_key(from_header: str) -> str:
    """Return the key of a From header: its addresses, whatever names stand beside them."""
    addresses = [address for _, address in getaddresses([from_header]) if address]
    return bounded(f"{_FROM} {', '.join(map(_folded, addresses))}")


def key_of(phase: str, envelope_sender: str, from_header: str) -> str:
    """Return the key of the sender that a refusal in ``phase`` is about.

    From MAIL on to the recipients that is the reverse path; once the content
    is there, the From header in it.
    """
    in_content = phase in ("data", "eod")
    return header_key(from_header) if in_content else envelope_key(envelope_sender)


def held_sender_error(way: Way, key: str) -> SMTPError:
    """Return what ``"now"`` mode raises, unsent, for a sender that is held."""
    route = rows(Key(way.name, sender=key)).first()
    reason = route.pause_reason if route is not None else ""
    return SMTPError(
        said(
            "Mail of mailer %(name)s %(key)s is held: %(reason)s",
            name=repr(way.name),
            key=key,
            reason=reason or said("no reason given"),
        ),
        phase="mail",
        category=(route.category if route is not None else "") or "sender_rejected",
        action="hold",
    )


def hold_sender(way: Way, key: str, error: SMTPError, at: datetime) -> datetime | None:
    """Hold a mailer's mail from one sender, and return the next probe.

    A 5yz waits for a person (None). A 4yz says of itself that it passes (RFC
    5321 section 4.2.1): it is probed after 15 minutes, then hourly.
    """
    route = rows(Key(way.name, sender=key)).first()
    until = None
    if error.code is not None and error.code // 100 == 4:
        failures = route.consecutive_failures if route is not None else 0
        until = at + PROBES[min(failures, len(PROBES) - 1)]
    return hold(Key(way.name, sender=key), error, until, at)


def resume_senders(mailer: str, keys: Iterable[str], at: datetime) -> int:
    """Let the mail of senders come again, whoever held them, and count those that were held."""
    count = 0
    for key in set(keys):
        held = rows(Key(mailer, sender=key)).exclude(state=State.OPEN)
        count += held.update(
            state=State.OPEN,
            paused_until=None,
            pause_reason="",
            category="",
            consecutive_failures=0,
            resumed_at=at,
        )
    if count:
        ledger.unpark(mailer, at)
    return count


def resume_senders_of(messages: Sequence[int], at: datetime) -> int:
    """Let the mail of whoever sent ``messages`` come again; count the senders that were held."""
    held = all_routes().filter(sender__gt="").exclude(state=State.OPEN)
    known = set(held.values_list("mailer", "sender"))
    if not known:
        return 0
    wanted: dict[str, set[str]] = {}
    for mailer, envelope_sender, from_header in ledger.senders_of(messages):
        keys = {envelope_key(envelope_sender), header_key(from_header)}
        wanted.setdefault(mailer, set()).update(key for key in keys if (mailer, key) in known)
    return sum(resume_senders(mailer, keys, at) for mailer, keys in wanted.items() if keys)


def book_sender_success(way: Way, keys: Iterable[str], at: datetime) -> None:
    """Open senders again after the mail that probed them was taken."""
    if [key for key in set(keys) if reopen(Key(way.name, sender=key))]:
        ledger.unpark(way.name, at)


def take_sender_probe(way: Way, key: str, resting: Resting, at: datetime) -> bool:
    """Say whether one message of a held sender may go now, to see; once over all workers.

    The next one may after a quarter of an hour, unless this one is taken, or refused as the first
    was: an answer of another kind (greylisting, a full mailbox) says nothing of the sender.
    """
    until = resting.until
    if until is None or until > at:
        return False
    return take_probe(Key(way.name, sender=key), until, at, PROBES[0])


def while_probed(resting: Resting, at: datetime) -> Resting:
    """Return until when the rest of a held sender's mail waits: for the probe that is under way."""
    due = resting.until
    return resting if due is None or due > at else Resting(at + PROBE_LASTS)


def survey(way: Way, at: datetime) -> Survey:
    """Return what rests on ``way``, by one query."""
    senders: dict[str, Resting] = {}
    domains: dict[str, Resting] = {}
    ways: list[Route] = []
    for route in found(_surveyed, way.name, way.domain):
        if route.sender:
            senders[route.sender] = Resting(route.paused_until)
        elif route.domain in ("", way.domain):
            ways.append(route)
        elif _rests(route, at):
            domains[route.domain] = Resting(route.paused_until)
    closed_by = next((route for route in ways if _rests(route, at)), None)
    return Survey(
        senders,
        domains,
        rests=None if closed_by is None else _rest_of(closed_by),
        slowdown=slowdown_of(next((r for r in ways if r.domain == way.domain), None)),
    )


def _surveyed(mailer: str, domain: str) -> QuerySet[Route]:
    own = Q(domain__in=sorted({"", domain}), sender="")
    closed = Q(sender__gt="") if domain else Q(sender__gt="") | Q(domain__gt="")
    return all_routes().filter(mailer=mailer, host="").filter(own | (closed & ~Q(state=State.OPEN)))


def _rest_of(route: Route) -> Resting:
    """Return the rest of a way; what a person has paused has no category, and no age."""
    return Resting(route.paused_until, ages=bool(route.domain and route.category))


def _rests(route: Route, at: datetime) -> bool:
    return route.state != State.OPEN and (route.paused_until is None or route.paused_until > at)


def _folded(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"
