"""``"now"`` mode: deliver in the calling process, and raise as Django's own backend does."""

from __future__ import annotations

import logging
import random
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.db import connections, transaction

from django_smtpx import ledger, pacing
from django_smtpx.config import lease as lease_seconds
from django_smtpx.delivery.jobs import (
    MAX_RECIPIENTS,
    Asking,
    Job,
    book,
    book_failure,
    book_split,
    envelope_of,
    holds_mailer,
)
from django_smtpx.delivery.sessions import limits_of, open_session
from django_smtpx.smtp import RecipientsRefused, Result
from django_smtpx.smtp.pool import default_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from django_smtpx.compose import Composed
    from django_smtpx.config import Mailer
    from django_smtpx.ledger import Booking, Lease, Row, Suppressed
    from django_smtpx.models import Message
    from django_smtpx.smtp import Envelope, Outcome, SMTPError


logger = logging.getLogger("django_smtpx.delivery")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of one mail: an outcome for each transaction, until a session could not be had.

    ``failures`` are those of the sessions, in order; the last one is about
    every recipient without an outcome. A recipient that was put off because
    there were too many has another outcome behind.
    """

    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[SMTPError, ...] = ()

    @property
    def error(self) -> SMTPError | None:
        """The error to raise: the first one, when not one recipient was sent."""
        results = [result for outcome in self.outcomes for result in outcome.results]
        if any(result.outcome == "sent" for result in results):
            return None
        if self.outcomes:
            return self.outcomes[0].error
        return self.failures[0]


def deliver_now(mailer: Mailer, mail: Composed) -> tuple[Message, SMTPError | None]:
    """Deliver one mail in this process, and return its row and the error, if nobody took it.

    Outside a transaction the row is there, marked, before the bytes move, so
    that a process that dies leaves a trace. Inside the caller's transaction
    nothing is written before they have moved: no lock is held meanwhile, and
    the row shares the transaction's fate.
    """
    earlier = _earlier(mailer, mail)
    if earlier is not None:
        return earlier, _once_more(mailer, earlier)
    if not _in_transaction():
        message, lease, rows = ledger.store_now(mailer.name, mail, lease_seconds())
        if lease is None:
            return message, None
        return message, _send(mailer, mail.content, lease, rows)
    spoken = _speak(mailer, mail, mail.recipients, mail.content)
    message, lease, rows = ledger.store_now(mailer.name, mail, lease_seconds())
    if lease is not None:
        spoken.book(mailer, lease, rows)
    return message, spoken.error


def _in_transaction() -> bool:
    return connections[ledger.database()].in_atomic_block


def _earlier(mailer: Mailer, mail: Composed) -> Message | None:
    key = mail.idempotency_key
    return ledger.find(mailer.name, key) if key is not None else None


def _once_more(mailer: Mailer, message: Message) -> SMTPError | None:
    """Send an earlier message again where it failed; otherwise this is its duplicate."""
    content = message.content
    if content is None:
        return None
    if not _in_transaction():
        lease, rows = ledger.resume_now(message, lease_seconds())
        return _send(mailer, content, lease, rows) if rows else None
    recipients = ledger.resumable(message)
    if not recipients:
        return None
    spoken = _speak(mailer, message, recipients, content)
    lease, rows = ledger.resume_now(message, lease_seconds())
    if rows:
        spoken.book(mailer, lease, rows)
    return spoken.error


def _send(mailer: Mailer, content: bytes, lease: Lease, rows: Sequence[Row]) -> SMTPError | None:
    """Send rows that are stored and marked, apart from those on the suppression list."""
    aside = _suppressed(mailer, (row.recipient for row in rows), lease.now())
    rows = ledger.book_suppressed(lease, rows, aside)
    if not rows:
        return _all_suppressed(aside)
    envelope = Job(tuple(rows)).envelope(content, mailer)
    exchange = _exchange(mailer, envelope, at=lease.now(), watch=_Watch(lease))
    _settle(mailer, lease, rows, exchange)
    return exchange.error


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What came of a mail whose rows are not written yet; there is no exchange where none was
    to have it.
    """

    aside: Mapping[str, Suppressed]
    exchange: Exchange | None

    @property
    def error(self) -> SMTPError | None:
        """The error to raise, when not one recipient was sent."""
        return _all_suppressed(self.aside) if self.exchange is None else self.exchange.error

    def book(self, mailer: Mailer, lease: Lease, rows: Sequence[Row]) -> None:
        """Write it down, as the list was when the bytes moved."""
        rows = ledger.book_suppressed(lease, rows, self.aside)
        if self.exchange is not None:
            _settle(mailer, lease, rows, self.exchange)


def _speak(mailer: Mailer, message: Asking, recipients: Sequence[str], content: bytes) -> _Spoken:
    """Move the bytes to those who are not on the suppression list, and write nothing."""
    at = ledger.now()
    aside = _suppressed(mailer, recipients, at)
    left = [recipient for recipient in recipients if recipient not in aside]
    if not left:
        return _Spoken(aside, None)
    return _Spoken(aside, _exchange(mailer, envelope_of(mailer, message, left, content), at=at))


def _suppressed(mailer: Mailer, recipients: Iterable[str], at: datetime) -> dict[str, Suppressed]:
    return ledger.suppressed(recipients, at) if mailer.suppression else {}


def _all_suppressed(aside: Mapping[str, Suppressed]) -> SMTPError:
    """Return what to raise where all are on the list: as if the server had refused each."""
    results = tuple(
        Result(
            recipient=recipient,
            outcome="failed",
            category="suppressed",
            action="fail",
            phase="rcpt",
            command="",
            reply=entry.words,
        )
        for recipient, entry in aside.items()
    )
    first = results[0]
    return RecipientsRefused(
        f"Not sent to {first.recipient}. {first.reply}",
        phase="rcpt",
        category="suppressed",
        action="fail",
        temporary=False,
        results=results,
    )


class _Watch:
    """The lease's say while this process sends; ``lost`` is whether it has kept content back."""

    def __init__(self, lease: Lease) -> None:
        self.interval = min(10.0, lease.seconds / 3)
        self.lost = False
        self._lease = lease

    def may_send(self, envelope: object) -> bool:
        """Say whether the rows are still ours, suspends counted."""
        self.lost = not self._lease.valid()
        return not self.lost

    def waiting(self, elapsed: float) -> None:
        """Renew the lease; the reply that is awaited is worth more than that."""
        try:
            ledger.renew(self._lease)
        except DatabaseError:
            logger.exception("The outbox cannot be written to while a reply is awaited.")


def _exchange(
    mailer: Mailer, envelope: Envelope, *, at: datetime, watch: _Watch | None = None
) -> Exchange:
    """Move the bytes; this writes nothing but, on commit, the mailer's state."""
    gate = pacing.gate(mailer, at) if mailer.name else pacing.Gate(True)
    if not gate.is_open:
        return Exchange(failures=(pacing.closed_error(mailer, gate),))
    exchange = Exchange()
    recipients = envelope.recipients
    parts = deque(
        tuple(recipients[first : first + MAX_RECIPIENTS])
        for first in range(0, len(recipients), MAX_RECIPIENTS)
    )
    with _counted(mailer, at):
        while parts:
            part = parts.popleft()
            step = _transact(mailer, envelope.to(part), watch)
            exchange = Exchange(
                exchange.outcomes + step.outcomes, exchange.failures + step.failures
            )
            if not step.outcomes:
                break
            last = step.outcomes[-1]
            for rest in (part[len(last.results) :], _split_off(last)):
                if rest:
                    parts.appendleft(rest)
    if watch is None or not watch.lost:
        _book_route(mailer, exchange, gate, at)
    return exchange


def _split_off(outcome: Outcome) -> tuple[str, ...]:
    """Return whom the server put off because there were too many, where it took note of others."""
    rest = tuple(result.recipient for result in outcome.results if result.action == "split")
    return rest if len(rest) < len(outcome.results) else ()


@contextmanager
def _counted(mailer: Mailer, at: datetime) -> Iterator[None]:
    """Count the connection among the mailer's; a slot is taken if there is one, not waited for.

    Inside the caller's transaction nothing may be written yet.
    """
    if not mailer.name or _in_transaction():
        yield
        return
    slot = pacing.take_slot(mailer, at)
    try:
        yield
    finally:
        if slot is not None:
            pacing.rest_slot(slot, ledger.now(), mailer.idle_timeout)


def _transact(mailer: Mailer, envelope: Envelope, watch: _Watch | None) -> Exchange:
    """Send one envelope, to the first of its recipients where the server takes only so many.

    A session that was dropped while idle costs one fresh connection.
    """
    failures: list[SMTPError] = []
    while True:
        opening = open_session(mailer, watch, tls_optional=lambda: envelope.tls_optional)
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
        if outcomes:
            return Exchange(outcomes, tuple(failures))
        if not reused or (watch is not None and watch.lost):
            assert session.failure is not None
            return Exchange(failures=(*failures, session.failure))


def _book_route(mailer: Mailer, exchange: Exchange, gate: pacing.Gate, at: datetime) -> None:
    """Book on the mailer what its session said, once the caller's transaction is through."""
    if not mailer.name:
        return
    results = [result for outcome in exchange.outcomes for result in outcome.results]
    held = [result.error for result in results if holds_mailer(result) and result.error]
    failures = held or (() if results else exchange.failures)
    if failures:
        _on_commit(partial(pacing.book_failure, mailer, failures[-1], at))
    elif gate.probing:
        _on_commit(partial(pacing.book_success, mailer, at))


def _on_commit(work: Callable[[], object]) -> None:
    transaction.on_commit(work, using=ledger.database(), robust=True)


def _settle(mailer: Mailer, lease: Lease, rows: Sequence[Row], exchange: Exchange) -> None:
    """Lay the results beside the rows; a recipient without one was never spoken of."""
    by_recipient = {row.recipient: row for row in rows}
    bookings: list[Booking] = []
    for outcome in exchange.outcomes:
        job = Job(tuple(by_recipient[result.recipient] for result in outcome.results))
        split = set(_split_off(outcome))
        put_off = [row for row in job.rows if row.recipient in split]
        ledger.note(lease, book_split(outcome, job, put_off, mailer, lease.now()))
        by_recipient.update((row.recipient, row.tried_once_more()) for row in put_off)
        settled = book(outcome, job, mailer, now=lease.now(), rand=random.random)
        bookings += [booking for booking in settled if booking.row not in put_off]
    done = {booking.row.pk for booking in bookings}
    left = tuple(row for row in by_recipient.values() if row.pk not in done)
    if left:
        bookings += book_failure(Job(left), exchange.failures[-1], mailer, lease.now(), None)
    ledger.settle(lease, bookings)
