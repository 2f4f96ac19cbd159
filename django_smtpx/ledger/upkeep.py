"""What the sweep does with rows that nobody is sending: promote, park, expire, reclaim, purge.

Every step works in bounded batches, so none holds a lock for long.
"""

from __future__ import annotations

import logging
import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet, Value

from django_smtpx import signals
from django_smtpx.config import mailers
from django_smtpx.ledger.claiming import WAITING
from django_smtpx.ledger.rows import (
    ROW_FIELDS,
    Row,
    atomically,
    database,
    patiently,
    update_some,
)
from django_smtpx.ledger.settling import finish_messages
from django_smtpx.ledger.suppressing import forget_expired
from django_smtpx.models import (
    Action,
    Attempt,
    Category,
    Content,
    Delivery,
    Message,
    Suppression,
    Turn,
)
from django_smtpx.retry import Decision, decide, decide_now
from django_smtpx.smtp import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

Status = Delivery.Status
Lane = Delivery.Lane

MAX_LEASES_LOST = 3
"""A delivery whose worker died so many times is given up: it may be what kills it."""

_BATCH = 1000
_PURGE_BATCH = 200
_LOST = (
    "The worker died, or lost its database, after the content may have left "
    "and before the outcome was written."
)
_POISON = "The worker died {count} times while this delivery was claimed; its content had not left."
_POISON_MARKED = "The worker died {count} times while this delivery was being sent."

logger = logging.getLogger("django_smtpx.ledger")


def take_turn(name: str, every: float, at: datetime) -> bool:
    """Say whether the periodic job ``name`` is ours to run: once every ``every`` seconds over all
    processes, whoever moves its time forward.
    """
    using = database()
    turns = Turn.objects.using(using).filter(name=name)
    due = Q(taken_at__lte=at - timedelta(seconds=every)) | Q(taken_at__gt=at + timedelta(days=1))
    if patiently(lambda: turns.filter(due).update(taken_at=at), using):
        return True
    if turns.exists():
        return False
    try:
        with transaction.atomic(using=using):
            Turn.objects.using(using).create(name=name, taken_at=at)
    except IntegrityError:
        return False
    return True


def promote(at: datetime) -> int:
    """Move what has come due into the ready set, and count it."""
    due = Delivery.objects.using(database()).filter(
        lane=Lane.IDLE, status__in=WAITING, next_attempt_at__lte=at
    )
    rested = ExpressionWrapper(
        F("age_from") + (Value(at, DateTimeField()) - F("parked_at")), DateTimeField()
    )
    count = 0
    for lane, lost in ((Lane.ALONE, Q(leases_lost__gte=2)), (Lane.READY, Q(leases_lost__lt=2))):
        parked = due.filter(lost, parked_at__isnull=False)
        count += _update_all(parked, lane=lane, age_from=rested, parked_at=None)
        count += _update_all(due.filter(lost, parked_at=None), lane=lane)
    return count


def expire(at: datetime) -> int:
    """End what waits beyond its ``expires_at`` as ``failed``/``expired``, and count it."""
    using = database()
    over = Delivery.objects.using(using).filter(expires_at__lte=at, status__in=WAITING)

    def end_some() -> int:
        keys = list(over.values_list("pk", flat=True)[:_BATCH])
        return atomically(lambda: _end_expired(keys, at, using), using) if keys else 0

    return _in_batches(end_some)


def reclaim(at: datetime) -> int:
    """Take back what was claimed under a lease that has run out, and count it.

    What was not marked comes back as if never claimed. What was marked may
    have been delivered: it gets an attempt whose outcome is unknown.
    """
    using = database()
    lost = Delivery.objects.using(using).filter(status=Status.SENDING, lease_expires_at__lte=at)
    count = 0
    # The recipients of a message that were lost together come back together.
    chances: dict[int, float] = {}
    for row, token in list(_claimed_rows(lost)):
        still = lost.filter(pk=row.pk, lease_token=token)
        rand = chances.setdefault(row.message, random.random())  # noqa: S311 (spreads retries)
        try:
            count += atomically(partial(_take_back, row, still, at, using, rand=rand), using)
        except IntegrityError:
            # Nothing that is wrong with one row keeps the others from coming back.
            logger.exception("Delivery %s of mailer %r cannot be taken back.", row.pk, row.mailer)
    return count


def waiting_mailers() -> list[str]:
    """Return the names of the mailers that have ready mail."""
    lanes = (Lane.READY, Lane.ALONE)
    return sorted({name for lane in lanes for name in _distinct(_in_lane(lane), "mailer")})


def ready_destinations(mailer: str) -> list[str]:
    """Return the domains that ``mailer`` has ready mail straight for, in their order."""
    return sorted(
        {
            name
            for lane in (Lane.READY, Lane.ALONE)
            for name in _distinct(_in_lane(lane).filter(mailer=mailer), "destination")
        }
    )


def has_ready(mailer: str, destination: str) -> bool:
    """Say whether ``mailer`` has ready mail straight for ``destination``."""
    rows = Delivery.objects.using(database()).filter(mailer=mailer, destination=destination)
    return rows.filter(lane__in=(Lane.READY, Lane.ALONE)).exists()


def redirect_ready(mailer: str, *, by_domain: bool) -> int:
    """Let ready mail that was stored when ``mailer`` had another transport go as it has to now."""
    ready = Delivery.objects.using(database()).filter(
        mailer=mailer, lane__in=(Lane.READY, Lane.ALONE)
    )
    astray = ready.filter(destination__gt="")
    if by_domain:
        astray = ready.filter(destination="").exclude(domain="")
    if not astray.exists():
        return 0
    return _update_all(astray, destination=F("domain") if by_domain else "")


def purge(at: datetime, content_age: timedelta, log_age: timedelta) -> tuple[int, int]:
    """Delete content, and later the rows, of messages that were wholly settled so long ago.

    What expired on the suppression list goes with the log. Returns how many
    contents and how many messages went.
    """
    using = database()
    old = Content.objects.using(using).filter(message__settled_at__lte=at - content_age)
    contents = _in_batches(lambda: _delete_contents(old, using))
    gone = Message.objects.using(using).filter(settled_at__lte=at - log_age)
    messages = _in_batches(lambda: _delete_messages(gone, using))
    _in_batches(lambda: forget_expired(at - log_age))
    return contents, messages


def _end_expired(keys: Sequence[int], at: datetime, using: str) -> int:
    rows = Delivery.objects.using(using).filter(pk__in=keys)
    count = rows.filter(status__in=WAITING).update(
        status=Status.FAILED,
        category=Category.EXPIRED,
        lane=Lane.IDLE,
        next_attempt_at=None,
        parked_at=None,
        settled_at=at,
        delay_notice_at=None,
    )
    ended = rows.filter(category=Category.EXPIRED, settled_at=at)
    finish_messages(ended.values_list("message_id", flat=True), at, using)
    told = list(ended.select_related("message")) if signals.anyone_listens() else []
    for delivery in told:
        tell = partial(signals.tell_outcome, delivery, None)
        transaction.on_commit(tell, using=using, robust=True)
    return count


def _in_lane(lane: Lane) -> QuerySet[Delivery]:
    return Delivery.objects.using(database()).filter(lane=lane)


def _distinct(rows: QuerySet[Delivery], field: str) -> Iterator[str]:
    """Yield each value of ``field``, by one step along the index a value."""
    values = rows.order_by(field).values_list(field, flat=True)
    value = values.first()
    while value is not None:
        yield value
        value = values.filter(**{f"{field}__gt": value}).first()


def _update_all(rows: QuerySet[Delivery], **values: Any) -> int:
    return _in_batches(lambda: update_some(rows, _BATCH, **values))


def _in_batches(work: Callable[[], int]) -> int:
    total = 0
    while count := work():
        total += count
    return total


def _claimed_rows(lost: QuerySet[Delivery]) -> Iterator[tuple[Row, UUID]]:
    for *values, token in lost.values_list(*ROW_FIELDS, "lease_token")[:_BATCH]:
        yield Row(*values), token


def _take_back(
    row: Row, still: QuerySet[Delivery], at: datetime, using: str, *, rand: float
) -> int:
    lost = row.leases_lost + 1
    if row.marked:
        return _book_lost(row, still, _unknown(row, lost), at, using, rand=rand)
    if row.mode == Message.Mode.NOW or lost >= MAX_LEASES_LOST:
        return _book_lost(row, still, _poisoned(lost), at, using, rand=rand)
    return still.update(
        status=Status.DEFERRED if row.attempts else Status.QUEUED,
        lane=Lane.ALONE if lost >= MAX_LEASES_LOST - 1 else Lane.READY,
        lease_expires_at=None,
        leases_lost=lost,
    )


def _book_lost(
    row: Row,
    still: QuerySet[Delivery],
    result: Result,
    at: datetime,
    using: str,
    *,
    rand: float,
) -> int:
    lost = row.leases_lost + 1
    decision = _decide(row, result, lost, at, rand)
    quiet = {} if decision.status == Status.DEFERRED else {"delay_notice_at": None}
    count = still.update(
        status=decision.status,
        category=decision.category,
        step=decision.step,
        unknowns=decision.unknowns,
        next_attempt_at=decision.next_attempt_at,
        settled_at=at if decision.settled else None,
        attempt_count=F("attempt_count") + 1,
        phase=result.phase,
        code=None,
        enhanced_code="",
        reply=result.reply,
        host="",
        lease_expires_at=None,
        marked=False,
        leases_lost=lost,
        **quiet,
    )
    if not count:
        return 0
    attempt = Attempt.objects.using(using).create(
        delivery_id=row.pk,
        number=row.attempts + 1,
        started_at=at,
        outcome=decision.outcome,
        category=result.category,
        action=result.action,
        phase=result.phase,
        command=result.command,
        reply=result.reply,
    )
    if decision.settled:
        finish_messages([row.message], at, using)
    logger.warning("Delivery %s of mailer %r: %s", row.pk, row.mailer, result.reply)
    if signals.anyone_listens():
        transaction.on_commit(lambda: _tell(row.pk, attempt, using), using=using, robust=True)
    return count


def _tell(key: int, attempt: Attempt, using: str) -> None:
    delivery = Delivery.objects.using(using).select_related("message").filter(pk=key).first()
    if delivery is not None:
        signals.tell_outcome(delivery, attempt)


def _decide(row: Row, result: Result, lost: int, at: datetime, rand: float) -> Decision:
    mailer = mailers().get(row.mailer)
    # Three lost leases end as three unknown outcomes do: a person decides.
    given_up = row.mode == Message.Mode.NOW or lost >= MAX_LEASES_LOST
    if mailer is None or given_up:
        return decide_now(result, row.history)
    return decide(
        result,
        row.history,
        mailer.retry,
        on_unknown=mailer.on_unknown,
        now=at,
        rand=rand,
    )


def _unknown(row: Row, lost: int) -> Result:
    reply = _POISON_MARKED.format(count=lost) if lost >= MAX_LEASES_LOST else _LOST
    return Result(
        recipient=row.recipient,
        outcome="unknown",
        category=Category.UNKNOWN_OUTCOME.value,
        action=Action.RETRY.value,
        phase="eod",
        command="DATA",
        reply=reply,
    )


def _poisoned(lost: int) -> Result:
    return Result(
        recipient="",
        outcome="failed",
        category=Category.OTHER_PERMANENT.value,
        action=Action.FAIL.value,
        phase="connect",
        command="",
        reply=_POISON.format(count=lost),
    )


def _delete_contents(old: QuerySet[Content], using: str) -> int:
    keys = list(old.values_list("message", flat=True)[:_PURGE_BATCH])

    def delete() -> int:
        gone = _still(Message.objects.using(using).filter(pk__in=keys))
        return Content.objects.using(using).filter(pk__in=gone).delete()[0]

    return atomically(delete, using) if keys else 0


def _delete_messages(old: QuerySet[Message], using: str) -> int:
    keys = list(old.values_list("pk", flat=True)[:_PURGE_BATCH])

    def delete() -> int:
        gone = _still(old.filter(pk__in=keys))
        # Who is on the suppression list stays there without the evidence. Said here, so that the
        # attempts can go in one statement: Django would read each with its transcript first.
        evidence = Suppression.objects.using(using).filter(attempt__delivery__message__in=gone)
        evidence.update(attempt=None)
        attempts = Attempt.objects.using(using).filter(delivery__message__in=gone)
        attempts._raw_delete(using)
        Content.objects.using(using).filter(pk__in=gone).delete()
        Delivery.objects.using(using).filter(message__in=gone).delete()
        Message.objects.using(using).filter(pk__in=gone).delete()
        return len(gone)

    return atomically(delete, using) if keys else 0


def _still(settled: QuerySet[Message]) -> list[int]:
    """Return which of them are settled still: one that a person sends again meanwhile stays.

    They are written to first, so that whoever comes after that waits, and finds them gone.
    """
    settled = settled.filter(settled_at__isnull=False)
    settled.update(settled_at=F("settled_at"))
    return list(settled.values_list("pk", flat=True))
