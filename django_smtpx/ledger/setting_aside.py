"""What was claimed and is not to be sent: its recipient is on the suppression list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Case, TextField, Value, When

from django_smtpx.ledger import events
from django_smtpx.ledger.rows import atomically, database, storable
from django_smtpx.ledger.settling import finish_messages
from django_smtpx.ledger.suppressing import suppressed
from django_smtpx.models import Category, Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django_smtpx.ledger.clock import Lease
    from django_smtpx.ledger.rows import Row
    from django_smtpx.ledger.suppressing import Suppressed

Status = Delivery.Status
Lane = Delivery.Lane


def set_aside_suppressed(lease: Lease, rows: Sequence[Row]) -> list[Row]:
    """Settle the rows whose recipients are on the suppression list, and return those to send.

    For right after a claim, where the mailer has ``suppression``: one statement
    for as many rows as a claim returns, and a transaction where some are on the
    list.
    """
    found = suppressed((row.recipient for row in rows), lease.now())
    return book_suppressed(lease, rows, found)


def book_suppressed(
    lease: Lease, rows: Sequence[Row], found: Mapping[str, Suppressed]
) -> list[Row]:
    """Settle the rows whose recipients ``found`` names as ``suppressed``, and return the others.

    Nothing was tried, so there is no attempt; ``reply`` says why. A row that
    meanwhile belongs to somebody else is left alone, and is not returned.
    """
    aside = [row for row in rows if row.recipient in found]
    if not aside:
        return list(rows)
    using = database()
    now = lease.now()

    def write() -> None:
        count = _write(lease, aside, found, now, using)
        if count:
            finish_messages([row.message for row in aside], now, using)
            _tell(aside, count, now, using)

    atomically(write, using)
    return [row for row in rows if row.recipient not in found]


def _tell(aside: Sequence[Row], count: int, now: datetime, using: str) -> None:
    """Tell webhooks of those that were written."""
    keys = [row.pk for row in aside]
    if count < len(keys) and events.wanted([Status.SUPPRESSED]):
        ours = Delivery.objects.using(using).filter(pk__in=keys, status=Status.SUPPRESSED)
        keys = list(ours.filter(settled_at=now).values_list("pk", flat=True))
    events.emit(dict.fromkeys(keys, Status.SUPPRESSED.value), now, using)


def _write(
    lease: Lease,
    aside: Sequence[Row],
    found: Mapping[str, Suppressed],
    now: datetime,
    using: str,
) -> int:
    words = {row.pk: storable(found[row.recipient].words) for row in aside}
    reply = Case(
        *(When(pk=pk, then=Value(text)) for pk, text in words.items()),
        output_field=TextField(),
    )
    held = Delivery.objects.using(using).filter(lease_token=lease.token, status=Status.SENDING)
    return held.filter(pk__in=list(words)).update(
        status=Status.SUPPRESSED,
        category=Category.SUPPRESSED,
        lane=Lane.OUT,
        next_attempt_at=None,
        settled_at=now,
        parked_at=None,
        delay_notice_at=None,
        # What a server said to an earlier attempt stands with that attempt.
        phase="",
        code=None,
        enhanced_code="",
        reply=reply,
        host="",
        lease_token=None,
        lease_expires_at=None,
        marked=False,
        leases_lost=0,
    )
