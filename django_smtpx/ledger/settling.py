"""Outcomes into rows: grouped updates and bulk inserts, for a whole batch at once."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, transaction
from django.db.models import Exists, F, OuterRef

from django_smtpx.ledger import events
from django_smtpx.ledger.claiming import mark, mark_rows, marking, renew
from django_smtpx.ledger.rows import Booking, atomically, database, patiently, storable
from django_smtpx.ledger.sql import Insert, Update
from django_smtpx.ledger.statements import (
    all_at_once,
    insert_for,
    takes_all_at_once,
    update_rows,
)
from django_smtpx.ledger.suppressing import feed
from django_smtpx.ledger.telling import record, tell
from django_smtpx.models import Attempt, Delivery, Message
from django_smtpx.smtp import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from django_smtpx.ledger.clock import Lease
    from django_smtpx.ledger.rows import Row
    from django_smtpx.ledger.telling import Written
    from django_smtpx.retry import Decision

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
    return settle_and_mark(lease, bookings, ())[0]


def settle_and_mark(
    lease: Lease,
    bookings: Sequence[Booking],
    rows: Sequence[Row],
    meanwhile: Callable[[], None] | None = None,
) -> tuple[int, bool]:
    """Write outcomes, mark what may leave next, and return how many were written and whether
    the content of ``rows`` may leave.

    As :func:`settle` and :func:`~django_smtpx.ledger.mark` do it, in one transaction: a drain
    waits for the disk once instead of twice. What need not wait for it may be done ``meanwhile``,
    as :func:`~django_smtpx.ledger.cursors.cursor` has it.
    """
    if not bookings:
        return 0, mark(lease, rows, meanwhile) if rows else True
    using = database()
    now = lease.now()
    may_mark = not (rows and lease.runs_low()) or renew(lease)

    def write() -> tuple[list[Written], bool]:
        written = _write(lease, bookings, now, using)
        return written, may_mark and (not rows or mark_rows(lease, rows, using))

    done = None
    told = events.wanted(booking.decision.outcome for booking in bookings)
    if may_mark and takes_all_at_once(using) and not told:
        what = _AtOnce(bookings, rows, meanwhile)
        done = patiently(lambda: _write_at_once(lease, what, now, using), using)
    written, marked = atomically(write, using) if done is None else done
    transaction.on_commit(lambda: tell(written), using=using, robust=True)
    return len(written), marked and lease.valid()


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
        _insert_attempts(bookings, using)
        written = [(booking, booking.row.attempts + 1) for booking in bookings]
        transaction.on_commit(lambda: record(written), using=using, robust=True)

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


class _AtOnce(NamedTuple):
    """What is to be settled and marked by one statement, and what may be done meanwhile."""

    bookings: Sequence[Booking]
    rows: Sequence[Row]
    meanwhile: Callable[[], None] | None


def _write_at_once(
    lease: Lease, what: _AtOnce, now: datetime, using: str
) -> tuple[list[Written], bool] | None:
    """Write what is alike and all ours, as most is, by one statement; None: it was not written."""
    bookings, rows, meanwhile = what
    updates, inserts = _updates(lease, bookings, now), _inserts(bookings)
    if len(updates) > 1 or len(inserts) > 1 or any(booking.suppress for booking in bookings):
        return None
    whole, others = _ended(booking.row for booking in bookings if booking.decision.settled)
    if others:
        return None
    (update, _), (insert, _) = updates[0], inserts[0]
    also = [_finished(whole, now)] if whole else []
    also += [marking(lease, rows)] if rows else []
    met = all_at_once(using, update, insert, also, meanwhile)
    if met is None:
        return None
    written = [(booking, booking.row.attempts + 1) for booking in bookings]
    return written, not rows or met[-1] == len(rows)


def _write(lease: Lease, bookings: Sequence[Booking], now: datetime, using: str) -> list[Written]:
    kept: list[Booking] = []
    for update, group in _updates(lease, bookings, now):
        count = update_rows(update, using)
        kept.extend(group if count == len(group) else _really_written(group, now, using))
    written = [(booking, booking.row.attempts + 1) for booking in kept]
    if len(kept) < len(bookings):
        late = {id(booking) for booking in bookings}.difference(map(id, kept))
        missing = [booking for booking in bookings if id(booking) in late]
        written += [pair for booking in missing for pair in _late(lease, booking, now, using)]
    _insert_attempts([booking for booking, _ in written], using)
    feed(written, now, using)
    whole, others = _ended(booking.row for booking, _ in written if booking.decision.settled)
    update_rows(_finished(whole, now), using)
    if others:
        finish_messages(others, now, using)
    kinds = {booking.row.pk: booking.decision.outcome for booking, _ in written}
    events.emit(kinds, now, using, attempted=True)
    return written


def _ended(rows: Iterable[Row]) -> tuple[list[int], list[int]]:
    """Return the messages of ``rows``, which end here: those that have no other, and the rest."""
    counts: dict[int, int] = {}
    recipients: dict[int, int] = {}
    for row in rows:
        counts[row.message] = counts.get(row.message, 0) + 1
        recipients[row.message] = row.recipients
    whole = [key for key, count in counts.items() if count == recipients[key]]
    return whole, [key for key, count in counts.items() if count != recipients[key]]


def _finished(messages: Sequence[int], now: datetime) -> Update:
    return Update(
        model=Message, keys=messages, only={"settled_at": None}, values={"settled_at": now}
    )


def _updates(
    lease: Lease, bookings: Sequence[Booking], now: datetime
) -> list[tuple[Update, list[Booking]]]:
    """Return what is decided about the rows, and for which bookings, in as few as can be."""
    ours = {"lease_token": lease.token, "status": Status.SENDING}
    updates = []
    for values, group in _grouped(bookings, now):
        alike, each = _apart(
            next_attempt_at={b.row.pk: b.decision.next_attempt_at for b in group},
            reply={b.row.pk: storable(b.result.reply) for b in group},
        )
        update = Update(
            model=Delivery,
            keys=[booking.row.pk for booking in group],
            only=ours,
            values=values | alike,
            each=each,
            one_more="attempt_count",
        )
        updates.append((update, group))
    return updates


def _apart(**fields: dict[int, Any]) -> tuple[dict[str, Any], dict[str, dict[int, Any]]]:
    """Return the fields that have one value in all rows, and those that differ, by key."""
    alike = {}
    each = {}
    for name, by_key in fields.items():
        different = set(by_key.values())
        if len(different) == 1:
            alike[name] = different.pop()
        else:
            each[name] = by_key
    return alike, each


def _grouped(
    bookings: Sequence[Booking], now: datetime
) -> list[tuple[dict[str, Any], list[Booking]]]:
    """Gather the bookings that write the same values, so that each group is one statement."""
    groups: dict[tuple[Any, ...], tuple[dict[str, Any], list[Booking]]] = {}
    for same in _alike(bookings):
        values = _values(same[0], now)
        groups.setdefault(tuple(values.items()), (values, []))[1].extend(same)
    return list(groups.values())


def _alike(bookings: Iterable[Booking]) -> Iterable[list[Booking]]:
    """Gather what is the same but for its row, its times and its words: mostly that is all."""
    groups: dict[tuple[Any, ...], list[Booking]] = {}
    for booking in bookings:
        groups.setdefault(_what_is_alike(booking), []).append(booking)
    return groups.values()


_what_is_alike = attrgetter(
    "decision",
    "park",
    "ages",
    *(f"result.{name}" for name in Result._fields if name not in ("recipient", "reply", "error")),
)


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
        "lane": _lane(decision, due_now=due_now),
        "settled_at": now if decision.settled else None,
        "parked_at": _parked_at(booking, now),
        "phase": result.phase,
        "code": result.code,
        "enhanced_code": result.enhanced_code,
        "host": storable(result.host)[:_HOST_LENGTH],
        "lease_token": None,
        "lease_expires_at": None,
        "marked": False,
        "leases_lost": 0,
    }


def _parked_at(booking: Booking, now: datetime) -> datetime | None:
    """Return from when on a row does not age; what ages as it rests does so from when it is due."""
    if not booking.park:
        return None
    return booking.decision.next_attempt_at or now if booking.ages else now


def _lane(decision: Decision, *, due_now: bool) -> Lane:
    if decision.status != Status.DEFERRED:
        return Lane.OUT
    return Lane.AGAIN if due_now else Lane.IDLE


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


def _late(lease: Lease, booking: Booking, now: datetime, using: str) -> list[Written]:
    """Book a 250 that came after the lease ran out, unless the row was claimed since."""
    if booking.decision.status != Status.SENT:
        return []
    row = Delivery.objects.using(using).filter(pk=booking.row.pk, lease_token=lease.token)
    taken = row.exclude(status__in=(Status.SENT, Status.SENDING)).update(
        **_values(booking, now),
        next_attempt_at=None,
        reply=storable(booking.result.reply),
        attempt_count=F("attempt_count") + 1,
    )
    if not taken:
        return []
    number = Delivery.objects.using(using).values_list("attempt_count", flat=True)
    return [(booking, number.get(pk=booking.row.pk))]


def _insert_attempts(bookings: Iterable[Booking], using: str) -> None:
    """Write an attempt of each booking, whose row has counted it already."""
    for insert, group in _inserts(bookings):
        insert_for(Delivery, [booking.row.pk for booking in group], insert, using)


def _inserts(bookings: Iterable[Booking]) -> list[tuple[Insert, list[Booking]]]:
    """Return the attempts of bookings, and of which, in as few as can be."""
    groups: dict[tuple[Any, ...], list[Booking]] = {}
    for same in _alike(bookings):
        groups.setdefault(tuple(_attempt(same[0]).items()), []).extend(same)
    inserts = []
    for values, group in groups.items():
        alike, each = _apart(
            started_at={b.row.pk: b.started_at for b in group},
            duration={b.row.pk: b.duration for b in group},
            reply={b.row.pk: storable(b.result.reply) for b in group},
            transcript={b.row.pk: storable(b.transcript) for b in group},
        )
        insert = Insert(
            model=Attempt,
            copied={"delivery": "id", "number": "attempt_count"},
            values=dict(values) | alike,
            each=each,
        )
        inserts.append((insert, group))
    return inserts


def _attempt(booking: Booking) -> dict[str, Any]:
    """Return what an attempt says that is mostly the same from one to the next."""
    result = booking.result
    return {
        "outcome": booking.decision.outcome,
        "category": result.category,
        "action": result.action,
        "rule": result.rule,
        "phase": result.phase,
        "command": result.command[:_COMMAND_LENGTH],
        "code": result.code,
        "enhanced_code": result.enhanced_code,
        "host": storable(result.host)[:_HOST_LENGTH],
        "ip": result.ip,
        "port": result.port or None,
        "tls": result.tls,
        "tls_verified_by": result.tls_verified_by,
    }
