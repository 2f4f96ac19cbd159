"""Outcomes into rows: grouped updates and bulk inserts, for a whole batch at once."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.db.models import Case, Exists, F, OuterRef, TextField, Value, When

from django_smtpx import signals
from django_smtpx.ledger.rows import Booking, atomically, database, storable
from django_smtpx.ledger.suppressing import feed
from django_smtpx.models import Attempt, Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django_smtpx.ledger.clock import Lease

Status = Delivery.Status
Lane = Delivery.Lane

_COMMAND_LENGTH = 16
_HOST_LENGTH = 255


def settle(lease: Lease, bookings: Sequence[Booking]) -> int:
    """Write the outcomes of rows claimed under ``lease``, and return how many were written.

    A row that meanwhile belongs to somebody else is left alone. One whose
    lease ran out, but that nobody has claimed since, still takes a late
    ``sent``: the server's 250 is the truth about it.
    """
    if not bookings:
        return 0
    using = database()
    now = lease.now()
    written = atomically(lambda: _write(lease, bookings, now, using), using)
    transaction.on_commit(lambda: _tell(written), using=using, robust=True)
    return len(written)


def note(lease: Lease, bookings: Sequence[Booking]) -> None:
    """Write attempts that changed nothing yet: a host failed, and the next one is tried now.

    None is written where the lease was lost: the next number is somebody else's to use.
    """
    using = database()
    held = Delivery.objects.using(using).filter(lease_token=lease.token, status=Status.SENDING)
    ours = held.filter(pk__in=[booking.row.pk for booking in bookings])

    def write() -> None:
        if ours.update(attempt_count=F("attempt_count") + 1) != len(bookings):
            transaction.set_rollback(True, using=using)
            return
        Attempt.objects.using(using).bulk_create(
            [_attempt(booking, booking.row.attempts + 1) for booking in bookings]
        )

    atomically(write, using)


def finish_messages(keys: Iterable[int], now: datetime, using: str) -> None:
    """Note on each message when its last delivery was settled: its retention counts from then.

    Two that settle the last two deliveries of a message at once do not see each
    other's. So each locks the message first, in one order, and looks after that.
    """
    waiting = Delivery.objects.using(using).filter(message=OuterRef("pk"), settled_at=None)
    unsettled = Message.objects.using(using).filter(pk__in=set(keys), settled_at=None)
    if connections[using].features.has_select_for_update:
        list(unsettled.order_by("pk").select_for_update().values_list("pk"))
    unsettled.filter(~Exists(waiting)).update(settled_at=now)


def _write(
    lease: Lease, bookings: Sequence[Booking], now: datetime, using: str
) -> list[tuple[Booking, Attempt]]:
    ours = Delivery.objects.using(using).filter(lease_token=lease.token)
    held = ours.filter(status=Status.SENDING)
    kept: list[Booking] = []
    for values, group in _grouped(bookings, now):
        keys = [booking.row.pk for booking in group]
        count = held.filter(pk__in=keys).update(**values, **_varying(group))
        kept.extend(group if count == len(keys) else _really_written(group, now, using))
    written = [(booking, _attempt(booking, booking.row.attempts + 1)) for booking in kept]
    missing = (
        [booking for booking in bookings if booking not in kept]
        if len(kept) < len(bookings)
        else []
    )
    written += [pair for booking in missing for pair in _late(lease, booking, now, using)]
    Attempt.objects.using(using).bulk_create([attempt for _, attempt in written])
    feed(written, now, using)
    ended = [booking.row.message for booking, _ in written if booking.decision.settled]
    if ended:
        finish_messages(ended, now, using)
    return written


def _grouped(
    bookings: Sequence[Booking], now: datetime
) -> list[tuple[dict[str, Any], list[Booking]]]:
    """Gather the bookings that write the same values, so that each group is one statement."""

    def key(booking: Booking) -> str:
        return repr(sorted(_values(booking, now).items()))

    ordered = sorted(bookings, key=key)
    groups = [list(group) for _, group in groupby(ordered, key=key)]
    return [(_values(group[0], now), group) for group in groups]


def _values(booking: Booking, now: datetime) -> dict[str, Any]:
    """Return what a booking writes to its row, apart from what differs from row to row."""
    decision, result = booking.decision, booking.result
    due_now = decision.next_attempt_at is not None and decision.next_attempt_at <= now
    quiet = {} if decision.status == Status.DEFERRED else {"delay_notice_at": None}
    return {
        **quiet,
        "status": decision.status,
        "category": decision.category,
        "step": decision.step,
        "unknowns": decision.unknowns,
        "lane": Lane.READY if due_now else Lane.IDLE,
        "settled_at": now if decision.settled else None,
        "parked_at": now if booking.park else None,
        "phase": result.phase,
        "code": result.code,
        "enhanced_code": result.enhanced_code,
        "host": storable(result.host)[:_HOST_LENGTH],
        "lease_token": None,
        "lease_expires_at": None,
        "marked": False,
        "leases_lost": 0,
    }


def _varying(group: Sequence[Booking]) -> dict[str, Any]:
    """Return what differs from row to row: the server's text, and when to try again."""
    values: dict[str, Any] = {"attempt_count": F("attempt_count") + 1}
    field = Delivery._meta.get_field("next_attempt_at")
    times = {booking.decision.next_attempt_at for booking in group}
    replies = {storable(booking.result.reply) for booking in group}
    values["next_attempt_at"] = (
        times.pop()
        if len(times) == 1
        else Case(
            *(When(pk=b.row.pk, then=Value(b.decision.next_attempt_at, field)) for b in group),
            output_field=field,
        )
    )
    values["reply"] = (
        replies.pop()
        if len(replies) == 1
        else Case(
            *(When(pk=b.row.pk, then=Value(storable(b.result.reply))) for b in group),
            output_field=TextField(),
        )
    )
    return values


def _really_written(group: Sequence[Booking], now: datetime, using: str) -> list[Booking]:
    """Return those of a group that the update met: the others were no longer ours.

    An update clears the token, and nothing else does without a new one or a
    new status, so the rows that it met are told by their count of attempts. One
    that has its attempt already was written by an earlier call, whose answer
    was lost with the connection.
    """
    keys = [booking.row.pk for booking in group]
    rows = Delivery.objects.using(using).filter(pk__in=keys, lease_token=None)
    counts = dict(rows.values_list("pk", "attempt_count"))
    attempts = Attempt.objects.using(using).filter(delivery__in=keys)
    before = set(attempts.values_list("delivery", "number"))
    return [
        booking
        for booking in group
        for number in (booking.row.attempts + 1,)
        if counts.get(booking.row.pk) == number and (booking.row.pk, number) not in before
    ]


def _late(
    lease: Lease, booking: Booking, now: datetime, using: str
) -> list[tuple[Booking, Attempt]]:
    """Book a 250 that came after the lease ran out, unless the row was claimed since."""
    if booking.decision.status != Status.SENT:
        return []
    row = Delivery.objects.using(using).filter(pk=booking.row.pk, lease_token=lease.token)
    values = {**_values(booking, now), **_varying([booking])}
    if not row.exclude(status__in=(Status.SENT, Status.SENDING)).update(**values):
        return []
    number = Delivery.objects.using(using).values_list("attempt_count", flat=True)
    return [(booking, _attempt(booking, number.get(pk=booking.row.pk)))]


def _attempt(booking: Booking, number: int) -> Attempt:
    result = booking.result
    return Attempt(
        delivery_id=booking.row.pk,
        number=number,
        started_at=booking.started_at,
        duration=booking.duration,
        outcome=booking.decision.outcome,
        category=result.category,
        action=result.action,
        rule=result.rule,
        phase=result.phase,
        command=result.command[:_COMMAND_LENGTH],
        code=result.code,
        enhanced_code=result.enhanced_code,
        reply=storable(result.reply),
        host=storable(result.host)[:_HOST_LENGTH],
        ip=result.ip,
        port=result.port or None,
        tls=result.tls,
        tls_verified_by=result.tls_verified_by,
        transcript=storable(booking.transcript),
    )


def _tell(written: Sequence[tuple[Booking, Attempt]]) -> None:
    if not signals.anyone_listens():
        return
    keys = [booking.row.pk for booking, _ in written]
    deliveries = Delivery.objects.using(database()).select_related("message").in_bulk(keys)
    for booking, attempt in written:
        delivery = deliveries.get(booking.row.pk)
        if delivery is not None:
            signals.tell_outcome(delivery, attempt)
