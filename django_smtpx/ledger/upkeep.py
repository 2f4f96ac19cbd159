"""What the sweep does with rows that nobody is sending: promote, expire, reclaim.

Every step works in bounded batches, so none holds a lock for long.
"""

from __future__ import annotations

import logging
import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from django_smtpx import signals
from django_smtpx.config import mailers
from django_smtpx.ledger import events
from django_smtpx.ledger.lanes import (
    MAY_BE_POISON,
    WAITING_LANES,
    idle,
    made_ready,
    waiting,
    waiting_in,
)
from django_smtpx.ledger.rows import (
    ROW_FIELDS,
    Booking,
    Row,
    atomically,
    database,
    patiently,
    storable,
    update_all,
)
from django_smtpx.ledger.settling import finish_messages
from django_smtpx.ledger.telling import tell
from django_smtpx.models import (
    Action,
    Attempt,
    Category,
    Delivery,
    Message,
    Turn,
)
from django_smtpx.retry import Decision, carried_out, decide, decide_now
from django_smtpx.smtp import Result
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

Status = Delivery.Status
Lane = Delivery.Lane

MAX_LEASES_LOST = 3
"""A delivery whose worker died so many times is given up: it may be what kills it."""

_BATCH = 1000
_LOST = said(
    "The worker died, or lost its database, after the content may have left "
    "and before the outcome was written."
)

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


def turns(names: Iterable[str]) -> dict[str, datetime]:
    """Return when each of these jobs was last taken on, by name."""
    rows = Turn.objects.using(database()).filter(name__in=list(names))
    return dict(rows.values_list("name", "taken_at"))


def promote(at: datetime) -> int:
    """Move what has come due into the ready set, and count it."""
    rows = Delivery.objects.using(database()).filter(idle(), lane=Lane.IDLE)
    due = rows.filter(next_attempt_at__lte=at)
    return update_all(due.order_by("next_attempt_at"), **made_ready(at))


def expire(at: datetime) -> int:
    """End what waits beyond its ``expires_at`` as ``failed``/``expired``, and count it."""
    using = database()

    def end_some(lane: Lane) -> int:
        rows = Delivery.objects.using(using).filter(waiting_in(lane), expires_at__lte=at)
        over = rows.order_by("expires_at")
        keys = list(over.values_list("pk", flat=True)[:_BATCH])
        return atomically(lambda: _end_expired(keys, at, using), using) if keys else 0

    return sum(_in_batches(partial(end_some, lane)) for lane in WAITING_LANES)


def reclaim(at: datetime) -> int:
    """Take back what was claimed under a lease that has run out, and count it.

    What was not marked comes back as if never claimed. What was marked may
    have been delivered: it gets an attempt whose outcome is unknown.
    """
    using = database()
    sending = Delivery.objects.using(using).filter(status=Status.SENDING)
    lost = sending.filter(lease_expires_at__lte=at).order_by("pk")
    count = 0
    # The recipients of a message that were lost together come back together.
    chances: dict[int, float] = {}
    for row, token in list(_claimed_rows(lost)):
        # A worker that goes by another clock may have marked it since we looked.
        still = lost.order_by().filter(pk=row.pk, lease_token=token, marked=row.marked)
        rand = chances.setdefault(row.message, random.random())  # noqa: S311 (spreads retries)
        try:
            count += atomically(partial(_take_back, row, still, at, using, rand=rand), using)
        except IntegrityError:
            # Nothing that is wrong with one row keeps the others from coming back.
            logger.exception("Delivery %s of mailer %r cannot be taken back.", row.pk, row.mailer)
    return count


def _end_expired(keys: Sequence[int], at: datetime, using: str) -> int:
    rows = Delivery.objects.using(using).filter(pk__in=keys)
    count = rows.filter(waiting()).update(
        status=Status.FAILED,
        category=Category.EXPIRED,
        lane=Lane.OUT,
        next_attempt_at=None,
        parked_at=None,
        settled_at=at,
        delay_notice_at=None,
    )
    ended = rows.filter(category=Category.EXPIRED, settled_at=at)
    finish_messages(ended.values_list("message_id", flat=True), at, using)
    if events.wanted([Status.FAILED]):
        over = dict.fromkeys(ended.values_list("pk", flat=True), Status.FAILED.value)
        events.emit(over, at, using)
    told = list(ended.select_related("message")) if signals.anyone_listens() else []
    for delivery in told:
        say = partial(signals.tell_outcome, delivery, None)
        transaction.on_commit(say, using=using, robust=True)
    return count


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
        lane=_lane_of_lost(row, lost),
        lease_expires_at=None,
        leases_lost=lost,
    )


def _lane_of_lost(row: Row, lost: int) -> Lane:
    if lost >= MAY_BE_POISON:
        return Lane.ALONE
    return Lane.AGAIN if row.attempts else Lane.READY


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
    result = carried_out(result, decision)
    quiet = {} if decision.status == Status.DEFERRED else {"delay_notice_at": None}
    count = still.update(
        status=decision.status,
        lane=Lane.IDLE if decision.status == Status.DEFERRED else Lane.OUT,
        category=decision.category,
        step=decision.step,
        unknowns=decision.unknowns,
        next_attempt_at=decision.next_attempt_at,
        settled_at=at if decision.settled else None,
        attempt_count=F("attempt_count") + 1,
        phase=result.phase,
        code=None,
        enhanced_code="",
        reply=storable(result.reply),
        host="",
        lease_expires_at=None,
        marked=False,
        leases_lost=lost,
        **quiet,
    )
    if not count:
        return 0
    Attempt.objects.using(using).create(
        delivery_id=row.pk,
        number=row.attempts + 1,
        started_at=at,
        outcome=decision.outcome,
        category=result.category,
        action=result.action,
        phase=result.phase,
        command=result.command,
        reply=storable(result.reply),
    )
    if decision.settled:
        finish_messages([row.message], at, using)
    events.emit({row.pk: decision.outcome}, at, using, attempted=True)
    logger.warning("Delivery %s of mailer %r: %s", row.pk, row.mailer, result.reply)
    booking = Booking(row=row, result=result, decision=decision, started_at=at)
    written = [(booking, row.attempts + 1)]
    transaction.on_commit(lambda: tell(written), using=using, robust=True)
    return count


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
    reply: str = _LOST
    if lost >= MAX_LEASES_LOST:
        reply = said(
            "The worker died %(count)s times while this delivery was being sent.", count=lost
        )
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
        reply=said(
            "The worker died %(count)s times while this delivery was claimed; its content had not "
            "left.",
            count=lost,
        ),
    )
