"""Deliveries that wait longer than anybody would expect: when they are told of, and that once."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.db.models import F

from django_smtpx import signals
from django_smtpx.ledger import events
from django_smtpx.ledger.claiming import WAITING
from django_smtpx.ledger.lanes import waiting
from django_smtpx.ledger.rows import atomically, database
from django_smtpx.ledger.storing import FIRST_NOTICE
from django_smtpx.models import Attempt, Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

Status = Delivery.Status

SECOND_NOTICE = timedelta(hours=3)
"""A delivery that waits so long after it was due for the first time is told of once more."""

_BATCH = 1000

logger = logging.getLogger("django_smtpx.ledger")


class _Notice(NamedTuple):
    """One row whose notice is due, and what it was due for."""

    pk: int
    mailer: str
    status: str
    notice_at: datetime
    age_from: datetime
    created_at: datetime
    send_at: datetime | None

    @property
    def waits(self) -> bool:
        return self.status in WAITING

    def stage(self, at: datetime) -> timedelta:
        """Return the wait to tell of: the first is left out where the second has come too.

        It counts from the later of ``created_at`` and ``send_at``; of what a
        person made due anew, from then.
        """
        since = self.notice_at - FIRST_NOTICE
        due = max(self.created_at, self.send_at or self.created_at)
        first = since in (due, self.age_from) and at < since + SECOND_NOTICE
        return FIRST_NOTICE if first else SECOND_NOTICE


_FIELDS = (
    "pk",
    "mailer",
    "status",
    "delay_notice_at",
    "age_from",
    "message__created_at",
    "message__send_at",
)


def notice_delays(at: datetime) -> int:
    """Send ``delivery_delayed`` for what waits since 15 minutes, and since 3 hours; count them.

    Tried or not, parked or held: whatever is not settled, and does not wait
    for a person to judge its unknown outcome. What is being sent at this
    moment is left to the next sweep. Of several sweeps one tells of a row,
    after its commit.
    """
    using = database()
    counts: Counter[tuple[str, timedelta]] = Counter()
    while batch := _due(at, using):
        taken = _take(batch, at, using)
        if not taken:
            break  # others were faster
        counts.update((row.mailer, row.stage(at)) for row in taken if row.waits)
    for mailer in sorted({mailer for mailer, _ in counts}):
        _warn(mailer, counts[mailer, FIRST_NOTICE], counts[mailer, SECOND_NOTICE])
    return counts.total()


def _due(at: datetime, using: str) -> list[_Notice]:
    # Read by the notice's index: what is settled has none, so it costs nothing here.
    rows = Delivery.objects.using(using).filter(waiting(), delay_notice_at__lte=at)
    rows = rows.order_by("delay_notice_at", "pk")
    return [_Notice(*values) for values in rows.values_list(*_FIELDS)[:_BATCH]]


def _take(batch: Sequence[_Notice], at: datetime, using: str) -> list[_Notice]:
    """Move the times of a batch on, and return those that were ours to tell of."""
    if atomically(lambda: _move_all(batch, at, using), using):
        return list(batch)
    # Some of them were settled, claimed or told of meanwhile: one by one, to know which.
    return [row for row in batch if atomically(partial(_move_all, [row], at, using), using)]


def _move_all(batch: Sequence[_Notice], at: datetime, using: str) -> bool:
    """Move all or none; whoever comes second finds no row whose notice is still due."""
    due = Delivery.objects.using(using).filter(delay_notice_at__lte=at)
    waiting = due.filter(status__in=WAITING)
    step = SECOND_NOTICE - FIRST_NOTICE
    first = [row.pk for row in batch if row.waits and row.stage(at) == FIRST_NOTICE]
    last = [row.pk for row in batch if row.waits and row.stage(at) == SECOND_NOTICE]
    over = [row.pk for row in batch if not row.waits]
    count = 0
    if first:
        count += waiting.filter(pk__in=first).update(delay_notice_at=F("delay_notice_at") + step)
    if last:
        count += waiting.filter(pk__in=last).update(delay_notice_at=None)
    if over:
        ended = due.exclude(status__in=(*WAITING, Status.SENDING))
        count += ended.filter(pk__in=over).update(delay_notice_at=None)
    if count != len(batch):
        transaction.set_rollback(True, using=using)
        return False
    events.emit(dict.fromkeys(first + last, "delayed"), at, using)
    if (first or last) and signals.delivery_delayed.receivers:
        tell = partial(_tell, first + last, using)
        transaction.on_commit(tell, using=using, robust=True)
    return True


def _tell(keys: Sequence[int], using: str) -> None:
    deliveries = Delivery.objects.using(using).select_related("message").in_bulk(keys)
    latest = Attempt.objects.using(using).filter(
        delivery__in=keys, number=F("delivery__attempt_count")
    )
    attempts = {attempt.delivery_id: attempt for attempt in latest}
    for key in keys:
        if key in deliveries:
            signals.tell_delayed(deliveries[key], attempts.get(key))


def _warn(mailer: str, first: int, second: int) -> None:
    waits = [(first, "15 minutes"), (second, "3 hours")]
    parts = [(count, words) for count, words in waits if count]
    count, words = parts[0]
    text = "1 delivery" if count == 1 else f"{count} deliveries"
    verb = "has" if count == 1 else "have"
    more = "".join(f", {count} for {words}" for count, words in parts[1:])
    logger.warning("%s of mailer %r %s waited for %s%s", text, mailer, verb, words, more)
