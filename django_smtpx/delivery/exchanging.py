"""The bytes of ``"now"`` mode: one mail to its servers, and what they say booked on commit."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from django.db import connections, transaction

from django_smtpx import ledger, pacing
from django_smtpx.delivery import knocking
from django_smtpx.delivery.approach import Approach, approach
from django_smtpx.delivery.families import is_policy, other_family, prefer
from django_smtpx.delivery.jobs import MAX_RECIPIENTS
from django_smtpx.delivery.opening import tls_optional
from django_smtpx.delivery.sessions import Opening, limits_of, open_session
from django_smtpx.delivery.tallying import tally, tally_unresolved
from django_smtpx.mailer import Way
from django_smtpx.models import Category
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.pool import default_pool
from django_smtpx.smtp.verdict import FINAL_ACTIONS
from django_smtpx.smtp.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from django_smtpx.config import Mailer
    from django_smtpx.smtp import Envelope, Outcome, Result
    from django_smtpx.smtp.options import Options

_SENDERS_SHARE = 1.0
"""Contents a second that a mailer of ``"now"`` mode is taken to send, where one must be named."""


class LeaseWatch(Watch, Protocol):
    """A watch that remembers whether it has kept content back."""

    @property
    def lost(self) -> bool:
        """Whether the rows were no longer ours."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of one mail: an outcome for each transaction, until a session could not be had.

    ``failures`` are those of the sessions, in order, and ``known`` those of them
    that were on record before: nothing was tried; ``unsent`` names the
    recipients that were never spoken of, each with why. A recipient that was
    put off because there were too many has another outcome behind, and so has
    one that was refused over one IP family and tried over the other.
    """

    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[SMTPError, ...] = ()
    unsent: tuple[tuple[str, SMTPError], ...] = ()
    known: tuple[SMTPError, ...] = ()

    @property
    def results(self) -> list[Result]:
        """Every result, in order."""
        return [result for outcome in self.outcomes for result in outcome.results]

    @property
    def error(self) -> SMTPError | None:
        """The error to raise: the first one, when not one recipient was sent."""
        if any(result.outcome == "sent" for result in self.results):
            return None
        if self.outcomes:
            return self.outcomes[0].error
        return self.failures[0]

    @property
    def ends(self) -> list[Result]:
        """The last result of each recipient, in order."""
        return [
            result
            for place, outcome in enumerate(self.outcomes)
            for result in outcome.results
            if result.recipient not in self.later(place)
        ]

    def later(self, place: int) -> set[str]:
        """Return who has another outcome behind the one at ``place``."""
        behind = self.outcomes[place + 1 :]
        return {result.recipient for outcome in behind for result in outcome.results}

    def __add__(self, other: Exchange) -> Exchange:
        return Exchange(
            self.outcomes + other.outcomes,
            self.failures + other.failures,
            self.unsent + other.unsent,
            self.known + other.known,
        )


def in_transaction() -> bool:
    """Say whether the caller has a transaction open: nothing is written then while bytes move."""
    return connections[ledger.database()].in_atomic_block


def exchange(
    mailer: Mailer,
    envelope: Envelope,
    *,
    at: datetime,
    from_header: str = "",
    watch: LeaseWatch | None = None,
) -> Exchange:
    """Move the bytes; this writes nothing but, on commit, the state of the mailer's ways."""
    whole = Exchange()
    for way, recipients in _ways(mailer, envelope.recipients):
        whole += _along(way, envelope.to(recipients), from_header, at, watch)
    return whole


def split_off(outcome: Outcome) -> tuple[str, ...]:
    """Return whom the server put off because there were too many, where it took note of others."""
    rest = tuple(result.recipient for result in outcome.results if result.action == "split")
    return rest if len(rest) < len(outcome.results) else ()


def _ways(mailer: Mailer, recipients: Sequence[str]) -> list[tuple[Way, tuple[str, ...]]]:
    if mailer.transport == "smtp":
        return [(Way(mailer), tuple(recipients))]
    by_domain: dict[str, list[str]] = {}
    for recipient in recipients:
        by_domain.setdefault(recipient.rpartition("@")[2].lower(), []).append(recipient)
    return [(Way(mailer, domain), tuple(some)) for domain, some in by_domain.items()]


def _along(
    way: Way, envelope: Envelope, from_header: str, at: datetime, watch: LeaseWatch | None
) -> Exchange:
    gate = pacing.gate(way, at) if way.name else pacing.Gate(True)
    if not gate.is_open:
        return _not_sent(envelope.recipients, pacing.closed_error(way, gate))
    resting = _resting(way, envelope, from_header, at) if way.name else {}
    whole = sum((_not_sent([who], error) for who, error in resting.items()), Exchange())
    may_go = [who for who in envelope.recipients if who not in resting]
    if not may_go:
        return whole
    spoken = _speak(way, envelope, may_go, at, watch)
    if way.name and (watch is None or not watch.lost):
        verified = bool(way.domain) and envelope.require_tls
        said = _Said(envelope.sender, from_header, spoken, verified)
        _on_commit(partial(_book, way, said, gate, at))
    return spoken + whole


def _not_sent(recipients: Sequence[str], error: SMTPError) -> Exchange:
    return Exchange(failures=(error,), unsent=tuple((who, error) for who in recipients))


def _resting(way: Way, envelope: Envelope, from_header: str, at: datetime) -> dict[str, SMTPError]:
    """Return which recipients are not to be sent to now: the sender is held, or their domain."""
    seen = pacing.survey(way, at)
    for key in {pacing.envelope_key(envelope.sender), pacing.header_key(from_header)}:
        held = seen.senders.get(key)
        if held is not None and (held.until is None or held.until > at):
            return dict.fromkeys(envelope.recipients, pacing.held_sender_error(way, key))
    domains = {who: who.rpartition("@")[2].lower() for who in envelope.recipients}
    return {
        who: pacing.closed_error(way, pacing.Gate(False, rests.until, domain=domain))
        for who, domain in domains.items()
        if (rests := seen.domains.get(domain)) is not None
    }


def _speak(
    way: Way,
    envelope: Envelope,
    recipients: Sequence[str],
    at: datetime,
    watch: LeaseWatch | None,
) -> Exchange:
    whole = Exchange()
    parts = deque(
        tuple(recipients[first : first + MAX_RECIPIENTS])
        for first in range(0, len(recipients), MAX_RECIPIENTS)
    )
    with _counted(way, at):
        while parts:
            part = parts.popleft()
            step = _transact(way, envelope.to(part), watch)
            whole += step
            if not step.outcomes:
                left = (part, *parts)
                return whole + Exchange(
                    unsent=tuple((who, step.failures[-1]) for some in left for who in some)
                )
            whole += _over_other_family(way, envelope, step.outcomes[-1], watch)
            last = step.outcomes[-1]
            for rest in (part[len(last.results) :], split_off(last)):
                if rest:
                    parts.appendleft(rest)
    return whole


@contextmanager
def _counted(way: Way, at: datetime) -> Iterator[None]:
    """Count the connection among the way's; a slot is taken if there is one, not waited for.

    Inside the caller's transaction nothing may be written yet.
    """
    if not way.name or in_transaction():
        yield
        return
    slot = pacing.take_slot(way, at, way.mailer.max_connections)
    try:
        yield
    finally:
        if slot is not None:
            pacing.rest_slot(slot, ledger.now(), way.mailer.idle_timeout)


@contextmanager
def _turn(way: Way) -> Iterator[bool]:
    """Wait for the turn to log in, and say whether the way is still open then.

    It is not waited for longer than a moment: nobody's mail fails for the slow login of another.
    Inside the caller's transaction nothing may be written yet.
    """
    if not way.name or in_transaction() or not pacing.logs_in(way):
        yield True
        return
    mine = pacing.await_login(way, ledger.reading().now)
    try:
        yield mine is None or pacing.gate(way, ledger.now()).is_open
    finally:
        if mine is not None:
            pacing.end_login(way, mine)


def _book_refusal(way: Way, opening: Opening) -> None:
    """Book a refused login while the turn is still ours: who is next reads it, and does not try."""
    refused = opening.session is None and opening.failures[-1].category in pacing.CREDENTIAL
    if refused and way.name and not in_transaction():
        pacing.book_failure(way, opening.failures[-1], ledger.now())


def _over_other_family(
    way: Way, envelope: Envelope, outcome: Outcome, watch: LeaseWatch | None
) -> Exchange:
    """Try those whom a policy refused over one IP family over the other, where the host has it."""
    refused = [result for result in outcome.results if is_policy(result)]
    if not (way.domain and refused):
        return Exchange()
    hosts: tuple[Options, ...] = ()
    with suppress(SMTPError):  # What was answered stands where no host is to be found any more.
        hosts = _approach(way, envelope).hosts
    host = next((one for one in hosts if one.host == refused[0].host), None)
    other = other_family(host, refused[0].ip) if host is not None else None
    if other is None:
        return Exchange()
    again = envelope.to(result.recipient for result in refused)
    step = _transact(way, again, watch, over=other)
    taken = [result for result in step.results if result.outcome == "sent"]
    if taken:
        prefer(taken[0].host, taken[0].ip)
    return Exchange(step.outcomes)


def _approach(way: Way, envelope: Envelope) -> Approach:
    return approach(way, envelope.require_tls, lambda: tls_optional(envelope))


def _transact(
    way: Way, envelope: Envelope, watch: LeaseWatch | None, over: Options | None = None
) -> Exchange:
    """Send one envelope, to the first of its recipients where the server takes only so many.

    A session that was dropped while idle costs one fresh connection. ``over`` is the only way to
    try, where it was chosen already.
    """
    failures: list[SMTPError] = []
    mailer = way.mailer
    try:
        attempt = _approach(way, envelope)
    except SMTPError as error:
        tally_unresolved(way, error, lambda: tls_optional(envelope))
        return Exchange(failures=(error,))
    known = attempt.hosts if over is None else (over,)
    may_write = not in_transaction()
    hosts = knocking.hosts_to_try(way, known, may_write=may_write)
    if hosts.why is not None:
        return Exchange(failures=(hosts.why,), known=(hosts.why,))
    while True:
        with _turn(way) as may_log_in:
            if not may_log_in:
                gate = pacing.gate(way, ledger.now())
                return Exchange(failures=(*failures, pacing.closed_error(way, gate)))
            opening = open_session(
                mailer,
                hosts.options,
                watch,
                tls_optional=lambda: tls_optional(envelope),
                instead=attempt.instead,
                unfit=attempt.unfit,
            )
            tally(attempt, opening, lambda: tls_optional(envelope))
            _book_refusal(way, opening)
            knocking.book(way, known, hosts, opening, may_write=may_write)
        failures += opening.failures
        session = opening.session
        if session is None:
            return Exchange(failures=tuple(failures))
        reused = session.transactions > 0
        try:
            first = session.split(envelope.recipients)[0]
            part = envelope.to(envelope.recipients[: len(first)])
            outcomes = tuple(session.transact([part], watch))
        finally:
            default_pool.release(session, limits_of(mailer))
        for outcome in outcomes:
            ledger.time_phases(mailer.name, outcome.phases)
        if outcomes:
            return Exchange(outcomes, tuple(failures))
        if not reused or (watch is not None and watch.lost):
            assert session.failure is not None
            return Exchange(failures=(*failures, session.failure))


class _Said(NamedTuple):
    """What a way's servers said to a mail, whose mail it was, and whether it wants verified TLS
    of each of them.
    """

    sender: str
    from_header: str
    whole: Exchange
    verified: bool


def _book(way: Way, said: _Said, gate: pacing.Gate, at: datetime) -> None:
    """Book on the way what its session said, once the caller's transaction is through."""
    whole = said.whole
    if way.mailer.rate is not None and whole.outcomes:
        pacing.count(way, len(whole.outcomes), at)
    results = whole.ends
    about_way = [result.error for result in results if _is_about_way(result)]
    failures = [error for error in about_way if error] or (
        [] if whole.results else [error for error in whole.failures if _rests(error, said)]
    )
    if failures:
        pacing.book_failure(way, failures[-1], at)
    elif gate.probing and _proves(whole, gate):
        pacing.book_success(way, at)
    for result in results:
        if result.error is not None and result.action == "slow":
            pacing.book_slow(way, result.error, _SENDERS_SHARE, at)
        elif result.error is not None and _is_about_sender(result):
            key = pacing.key_of(result.phase, said.sender, said.from_header)
            pacing.hold_sender(way, key, result.error, at)


def _rests(error: SMTPError, said: _Said) -> bool:
    """Say whether a session that could not be had is a reason for other mail to rest."""
    own = said.verified and error.category == Category.TLS_ERROR
    return not own and error.action not in FINAL_ACTIONS and error not in said.whole.known


def _proves(whole: Exchange, gate: pacing.Gate) -> bool:
    """Say whether what was answered shows that what had closed the way is over."""
    if any(result.outcome == "sent" for result in whole.results):
        return True
    troubled = any(result.action in ("next_host", "reconnect") for result in whole.results)
    return not (gate.wants_success or troubled)


def _is_about_way(result: Result) -> bool:
    return result.action == "pause" or (result.action == "hold" and result.category in pacing.HOLDS)


def _is_about_sender(result: Result) -> bool:
    return result.action == "hold" and result.category == "sender_rejected"


def _on_commit(work: Callable[[], object]) -> None:
    transaction.on_commit(work, using=ledger.database(), robust=True)
