"""``"now"`` mode: deliver in the calling process, and raise as Django's own backend does."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from django.db import Error as DatabaseError
from django.db import transaction

from django_smtpx import ledger
from django_smtpx.config import lease as lease_seconds
from django_smtpx.delivery.exchanging import Exchange, exchange, in_transaction, split_off
from django_smtpx.delivery.jobs import (
    Asking,
    Job,
    book,
    book_failure,
    book_split,
    envelope_of,
)
from django_smtpx.delivery.opening import close, opened
from django_smtpx.smtp import RecipientsRefused, Result
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django_smtpx.compose import Composed
    from django_smtpx.config import Mailer
    from django_smtpx.ledger import Booking, Lease, Row, Suppressed
    from django_smtpx.models import Message
    from django_smtpx.smtp import SMTPError


logger = logging.getLogger("django_smtpx.delivery")


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
    if not in_transaction():
        message, lease, rows = ledger.store_now(mailer.name, mail, lease_seconds())
        if lease is None:
            return message, None
        return message, _send(mailer, mail.content, lease, rows)
    spoken = _speak(mailer, mail, mail.recipients, mail.content)
    message, lease, rows = ledger.store_now(mailer.name, mail, lease_seconds())
    if lease is not None:
        spoken.book(mailer, lease, rows)
    return message, spoken.error


def _earlier(mailer: Mailer, mail: Composed) -> Message | None:
    key = mail.idempotency_key
    return ledger.find(mailer.name, key) if key is not None else None


def _once_more(mailer: Mailer, message: Message) -> SMTPError | None:
    """Send an earlier message again where it failed; otherwise this is its duplicate."""
    content = opened(ledger.content_of(message))
    if content is None:
        return None
    try:
        return _send_again(mailer, message, content)
    finally:
        close(content)


def _send_again(mailer: Mailer, message: Message, content: bytes | BinaryIO) -> SMTPError | None:
    if not in_transaction():
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


def _send(
    mailer: Mailer, content: bytes | BinaryIO, lease: Lease, rows: Sequence[Row]
) -> SMTPError | None:
    """Send rows that are stored and marked, apart from those on the suppression list."""
    aside = _suppressed(mailer, (row.recipient for row in rows), lease.now())
    rows = ledger.book_suppressed(lease, rows, aside)
    if not rows:
        return _all_suppressed(aside)
    envelope = Job(tuple(rows)).envelope(content, mailer)
    from_header = ledger.from_headers(rows).get(rows[0].message, "")
    whole = exchange(mailer, envelope, at=lease.now(), from_header=from_header, watch=_Watch(lease))
    _settle(mailer, lease, rows, whole)
    return whole.error


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


def _speak(
    mailer: Mailer, message: _Mail, recipients: Sequence[str], content: bytes | BinaryIO
) -> _Spoken:
    """Move the bytes to those who are not on the suppression list, and write nothing."""
    at = ledger.now()
    aside = _suppressed(mailer, recipients, at)
    left = [recipient for recipient in recipients if recipient not in aside]
    if not left:
        return _Spoken(aside, None)
    envelope = envelope_of(mailer, message, left, content)
    return _Spoken(aside, exchange(mailer, envelope, at=at, from_header=message.from_header))


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
        said("Not sent to %(recipient)s. %(reply)s", recipient=first.recipient, reply=first.reply),
        phase="rcpt",
        category="suppressed",
        action="fail",
        temporary=False,
        results=results,
    )


class _Mail(Asking, Protocol):
    """A mail, stored or not."""

    @property
    def from_header(self) -> str:
        """The From header, as text."""


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


def _settle(mailer: Mailer, lease: Lease, rows: Sequence[Row], exchange: Exchange) -> None:
    """Lay the results beside the rows; a recipient without one was never spoken of."""
    by_recipient = {row.recipient: row for row in rows}
    bookings: list[Booking] = []
    for place, outcome in enumerate(exchange.outcomes):
        job = Job(tuple(by_recipient[result.recipient] for result in outcome.results))
        split = set(split_off(outcome)) | exchange.later(place)
        put_off = [row for row in job.rows if row.recipient in split]
        ledger.note(lease, book_split(outcome, job, put_off, mailer, lease.now()))
        by_recipient.update((row.recipient, row.tried_once_more()) for row in put_off)
        settled = book(outcome, job, mailer, now=lease.now(), rand=random.random)
        bookings += [booking for booking in settled if booking.row not in put_off]
    done = {booking.row.pk for booking in bookings}
    why = dict(exchange.unsent)
    for row in by_recipient.values():
        if row.pk not in done:
            error = why.get(row.recipient) or exchange.failures[-1]
            bookings += book_failure(Job((row,)), error, mailer, lease.now(), None)
    ledger.settle(lease, bookings)
    for flush in (ledger.flush_tls_sessions, ledger.flush_timings):
        transaction.on_commit(flush, using=ledger.database(), robust=True)
