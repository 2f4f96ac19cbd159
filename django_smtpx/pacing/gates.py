"""Whether a way is open: what closes it, what a probe may do, and what opens it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django_smtpx import ledger
from django_smtpx.models import Category, Route
from django_smtpx.pacing import credentials
from django_smtpx.pacing.logins import logs_in
from django_smtpx.pacing.routes import (
    CREDENTIAL,
    Key,
    State,
    all_routes,
    found,
    hold,
    reopen,
    rest,
    resumable,
    rows,
    said_until,
)
from django_smtpx.pacing.worth import begin_anew
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.mailer import Mailer, Way
    from django_smtpx.models import RefusedCredential

_SAID_BY_ANY_ANSWER = frozenset(
    {
        *CREDENTIAL,
        Category.DNS_ERROR,
        Category.UNREACHABLE,
        Category.TLS_ERROR,
        Category.DISCONNECTED,
        Category.TIMEOUT,
        Category.PROTOCOL_ERROR,
        Category.SERVER_BUSY,
        "",
    }
)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether mail may go a way; ``until`` is its next probe (None: a person must resume it).

    ``probing`` says that it has failed and not succeeded since: one connection,
    one message, to see. ``parks`` says whether what is ready rests with the
    closed way: not where only this process's credential is refused, and
    another one may send. ``category`` is what closed it, ``domain`` the
    destination that it is about ("": all of the mailer).
    """

    is_open: bool
    until: datetime | None = None
    probing: bool = False
    parks: bool = True
    category: str = field(default="", compare=False)
    domain: str = ""

    @property
    def ages(self) -> bool:
        """Whether the mail that rests ages meanwhile: a destination failed, and may for ever."""
        return bool(self.domain and self.category)

    @property
    def wants_success(self) -> bool:
        """Whether nothing less than a message that is taken shows that what closed it is over."""
        return self.category not in _SAID_BY_ANY_ANSWER


def gate(way: Way, at: datetime) -> Gate:
    """Return whether mail may go this ``way`` at ``at``.

    A hold for a refused login is keyed on the credential: one that was not
    refused, or whose probe is due, is let through.
    """
    routes = {route.domain: route for route in found(_on, way.name, way.domain)}
    route = routes.get("")
    refused = credentials.refusal(way.mailer) if route is not None else None
    own = gate_of_mailer(route, refused, at)
    if not own.is_open or not way.domain:
        return own
    to = gate_of(routes.get(way.domain), at)
    return to if not to.is_open or to.probing else own


def closed_error(way: Way, closed: Gate) -> SMTPError:
    """Return what ``"now"`` mode raises, unsent, while a mailer or a destination rests."""
    route = rows(Key(way.name, domain=closed.domain)).first()
    reason = route.pause_reason if route is not None else ""
    return SMTPError(
        said(
            "Mailer %(name)s rests %(until)s: %(reason)s",
            name=Key(way.name, domain=closed.domain),
            until=said_until(closed.until),
            reason=reason or said("no reason given"),
        ),
        phase="connect",
        category=(route.category if route is not None else "") or Category.OTHER_TEMPORARY.value,
    )


def book_failure(way: Way, error: SMTPError, at: datetime) -> datetime | None:
    """Rest the way after a session that could not be had, or an answer that asks for it.

    Returns the next probe: after 1, 2, 5, 15, 30, 60 minutes; a refused login
    or an exhausted quota holds the whole mailer with a probe after 15 minutes,
    then hourly. Where the credential is known to be refused, and another one
    has been working since, nothing rests: what is returned is ``at``. None: a
    person holds it.
    """
    key = Key(way.name)
    route = rows(key).first()
    if error.category not in CREDENTIAL:
        if _is_about_another_credential(way.mailer, route):
            # The hold let this one through, and would do so again and again.
            resumable(rows(key), at).update(
                state=State.OPEN, paused_until=None, consecutive_failures=0
            )
        of_mailer = error.category == Category.QUOTA_EXHAUSTED
        return rest(key if of_mailer else Key(way.name, domain=way.domain), error, at)
    known = credentials.refusal(way.mailer) is not None
    until = credentials.refuse(way.mailer, at)
    # What is news holds: that another one has worked some day does not say that it is in use.
    if known and route is not None and route.state == State.OPEN:
        own = credentials.credential_mac(way.mailer)
        if route.working_mac not in ("", own):
            return at
    return hold(key, error, until, at)


def book_success(way: Way, at: datetime) -> None:
    """Open the way again after a probe succeeded, and let its parked mail come: all is due now.

    Whatever its credential was refused for before is forgotten.
    """
    credentials.forgive(way.mailer)
    mac = credentials.credential_mac(way.mailer) if logs_in(way) else ""
    if reopen(Key(way.name), at, working_mac=mac):
        ledger.unpark(way.name, at)
    if way.domain and reopen(Key(way.name, domain=way.domain), at):
        begin_anew(way)
        ledger.unpark(way.name, at, destination=way.domain)


def had_tls_trouble(way: Way) -> bool:
    """Say whether the way rested for a failure of TLS, and none of its mail was taken since."""
    route = rows(Key(way.name, domain=way.domain)).first()
    return route is not None and route.category == Category.TLS_ERROR


def reopen_changed(mailers: Mapping[str, Mailer], at: datetime) -> None:
    """Let mailers go on whose refused credential has changed since, with a probe first."""
    held = resumable(all_routes().filter(state=State.HELD, category__in=CREDENTIAL))
    for route in held.filter(host="", domain="", sender=""):
        mailer = mailers.get(route.mailer)
        if mailer is not None and credentials.refusal(mailer) is None:
            _let_probe(route, at)


def _let_probe(route: Route, at: datetime) -> None:
    """Open a route whose failures are still on record, so that one message goes first."""
    same = all_routes().filter(pk=route.pk, paused_until=route.paused_until)
    if same.update(state=State.OPEN, paused_until=None):
        ledger.unpark(route.mailer, at)


def _on(mailer: str, domain: str) -> QuerySet[Route]:
    domains = sorted({"", domain})
    return all_routes().filter(mailer=mailer, host="", sender="", domain__in=domains)


def gate_of_mailer(route: Route | None, refused: RefusedCredential | None, at: datetime) -> Gate:
    """Return how a mailer's row, and what is on record of its credential, meet its mail."""
    if refused is not None and refused.next_probe_at > at:
        return _refused_gate(refused, route)
    if _is_about_a_credential(route):
        return Gate(True, probing=True, category=Category.AUTH_FAILED.value)
    found = gate_of(route, at)
    if found.is_open and refused is not None:
        return Gate(True, probing=True, category=Category.AUTH_FAILED.value)
    return found


def _refused_gate(refused: RefusedCredential, route: Route | None) -> Gate:
    """Return how a refused credential meets its mailer: closed; it parks if nobody else sends."""
    if route is None or route.state == State.OPEN:
        return Gate(False, refused.next_probe_at, parks=False)
    if route.state == State.HELD and route.paused_until is None:
        return Gate(False, None)
    until = refused.next_probe_at
    return Gate(False, max(until, route.paused_until) if route.paused_until else until)


def gate_of(route: Route | None, at: datetime) -> Gate:
    """Return how the row of a way meets its mail, whatever the mailer logs in with."""
    if route is None:
        return Gate(True)
    if route.state == State.OPEN:
        return Gate(True, probing=route.consecutive_failures > 0, category=route.category)
    if route.paused_until is not None and route.paused_until <= at:
        return Gate(True, probing=True, category=route.category)
    return Gate(False, route.paused_until, category=route.category, domain=route.domain)


def _is_about_another_credential(mailer: Mailer, route: Route | None) -> bool:
    return _is_about_a_credential(route) and credentials.refusal(mailer) is None


def _is_about_a_credential(route: Route | None) -> bool:
    return (
        route is not None
        and route.state == State.HELD
        and route.category in CREDENTIAL
        and route.paused_until is not None
    )
