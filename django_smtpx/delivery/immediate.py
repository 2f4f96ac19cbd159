"""``"now"`` mode: deliver in the calling process, and raise as Django's own backend does."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.db import connections, transaction

from django_smtpx import ledger, pacing
from django_smtpx.config import lease as lease_seconds
from django_smtpx.delivery.jobs import MAX_RECIPIENTS, Job, book, book_failure
from django_smtpx.delivery.sessions import open_session
from django_smtpx.smtp import Envelope, Outcome, SMTPError
from django_smtpx.smtp.pool import default_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from django_smtpx.compose import Composed
    from django_smtpx.config import Mailer
    from django_smtpx.ledger import Booking, Lease, Row
    from django_smtpx.models import Message


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of one mail: an outcome for each transaction, until a session could not be had.

    ``failures`` are those of the sessions, in order; the last one is about
    every recipient without an outcome.
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
        return _once_more(mailer, earlier)
    at = ledger.now()
    if not connections[ledger.database()].in_atomic_block:
        message, lease, rows = ledger.store_now(mailer.name, mail, lease_seconds())
        if lease is None:
            return message, None
        return message, _send(mailer, mail.content, lease, rows, at)
    exchange = _exchange(mailer, mail.sender, mail.recipients, mail.content, at)
    message, lease, rows = ledger.store_now(mailer.name, mail, lease_seconds())
    if lease is not None:
        ledger.settle(lease, _bookings(mailer, rows, exchange, lease))
    return message, exchange.error


def _earlier(mailer: Mailer, mail: Composed) -> Message | None:
    key = mail.idempotency_key
    return ledger.find(mailer.name, key) if key is not None else None


def _once_more(mailer: Mailer, message: Message) -> tuple[Message, SMTPError | None]:
    """Send an earlier message again where it failed; otherwise this is its duplicate."""
    content = message.content
    if content is None:
        return message, None
    lease, rows = ledger.resume_now(message, lease_seconds())
    if not rows:
        return message, None
    return message, _send(mailer, content, lease, rows, lease.now())


def _send(
    mailer: Mailer, content: bytes, lease: Lease, rows: Sequence[Row], at: datetime
) -> SMTPError | None:
    recipients = tuple(row.recipient for row in rows)
    exchange = _exchange(mailer, rows[0].envelope_sender, recipients, content, at)
    ledger.settle(lease, _bookings(mailer, rows, exchange, lease))
    return exchange.error


def _exchange(
    mailer: Mailer, sender: str, recipients: Sequence[str], content: bytes, at: datetime
) -> Exchange:
    """Move the bytes; this writes nothing but, on commit, the mailer's state."""
    gate = pacing.gate(mailer, at) if mailer.name else pacing.Gate(True)
    if not gate.is_open:
        return Exchange(failures=(pacing.closed_error(mailer, gate),))
    exchange = Exchange()
    with _counted(mailer, at):
        for first in range(0, len(recipients), MAX_RECIPIENTS):
            envelope = Envelope(sender, recipients[first : first + MAX_RECIPIENTS], content)
            step = _transact(mailer, envelope)
            exchange = Exchange(
                exchange.outcomes + step.outcomes, exchange.failures + step.failures
            )
            if not step.outcomes:
                break
    _book_route(mailer, exchange, gate, at)
    return exchange


@contextmanager
def _counted(mailer: Mailer, at: datetime) -> Iterator[None]:
    """Count the connection among the mailer's; a slot is taken if there is one, not waited for.

    Inside the caller's transaction nothing may be written yet.
    """
    if not mailer.name or connections[ledger.database()].in_atomic_block:
        yield
        return
    slot = pacing.take_slot(mailer, at)
    try:
        yield
    finally:
        if slot is not None:
            pacing.rest_slot(slot, ledger.now(), mailer.idle_timeout)


def _transact(mailer: Mailer, envelope: Envelope) -> Exchange:
    """Send one envelope; a session that was dropped while idle costs one fresh connection."""
    failures: list[SMTPError] = []
    while True:
        opening = open_session(mailer)
        failures += opening.failures
        session = opening.session
        if session is None:
            return Exchange(failures=tuple(failures))
        reused = session.transactions > 0
        try:
            outcomes = tuple(session.transact([envelope]))
        finally:
            default_pool.release(session)
        if outcomes:
            return Exchange(outcomes, tuple(failures))
        if not reused:
            assert session.failure is not None
            return Exchange(failures=(*failures, session.failure))


def _book_route(mailer: Mailer, exchange: Exchange, gate: pacing.Gate, at: datetime) -> None:
    """Book on the mailer what its session said, once the caller's transaction is through."""
    if not mailer.name:
        return
    if exchange.outcomes:
        if gate.probing:
            _on_commit(partial(pacing.book_success, mailer, at))
    elif exchange.failures:
        _on_commit(partial(pacing.book_failure, mailer, exchange.failures[-1], at))


def _on_commit(work: Callable[[], object]) -> None:
    transaction.on_commit(work, using=ledger.database(), robust=True)


def _bookings(
    mailer: Mailer, rows: Sequence[Row], exchange: Exchange, lease: Lease
) -> list[Booking]:
    """Lay the results beside the rows; a recipient without one was never spoken of."""
    by_recipient = {row.recipient: row for row in rows}
    bookings: list[Booking] = []
    for outcome in exchange.outcomes:
        job = Job(tuple(by_recipient.pop(result.recipient) for result in outcome.results))
        bookings += book(outcome, job, mailer, now=lease.now(), rand=random.random)
    if by_recipient:
        job = Job(tuple(by_recipient.values()))
        bookings += book_failure(job, exchange.failures[-1], mailer, lease.now(), None)
    return bookings
