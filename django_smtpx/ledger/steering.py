"""What a person does with deliveries: send them again, settle them by word, withdraw them.

Each step reads a bounded batch, judges every row by itself (a pure call), and
writes what may be written by compare-and-swap: a row that a worker has claimed
in between stays the worker's. No outcome signal is sent, as those follow
attempts, and a person's word is none.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Case, Exists, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce

from django_smtpx.ledger import events
from django_smtpx.ledger.asking import Facts, Refusal, Selection, Steered, Step, refusal
from django_smtpx.ledger.claiming import WAITING
from django_smtpx.ledger.lanes import lane_by_attempts
from django_smtpx.ledger.rows import atomically, database, storable
from django_smtpx.ledger.settling import finish_messages
from django_smtpx.ledger.storing import FIRST_NOTICE
from django_smtpx.models import Attempt, Category, Content, Delivery, Message
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

Status = Delivery.Status
Lane = Delivery.Lane

_BATCH = 1000

logger = logging.getLogger("django_smtpx.ledger")


_AGAIN = (Status.QUEUED, Status.DEFERRED, Status.FAILED, Status.CANCELLED)
_IN_DOUBT = Q(status=Status.UNKNOWN) | Q(status=Status.DEFERRED, category=Category.UNKNOWN_OUTCOME)


def retry(selection: Selection, at: datetime, *, by: str = "") -> Steered:
    """Make deliveries due at ``at``; their age and their schedule start anew.

    Unknown ones only where ``selection.status`` asks for them. One that was
    cancelled before its ``send_at`` waits for that once more. A message of
    ``"now"`` mode whose mailer has a name is of ``"queue"`` mode from then on:
    nobody waits for it any more. ``by`` names who asks, for the log. Raises
    ``ValueError`` for a selection of everything.
    """
    return _steer(Step.RETRY, selection, at, by)


def arrived(selection: Selection, at: datetime, *, by: str = "") -> Steered:
    """Settle deliveries of unknown outcome as sent, by a person's word; no attempt is invented.

    Those that wait to be sent again for it are among them. Raises ``ValueError``
    for a selection of everything.
    """
    return _steer(Step.ARRIVED, selection, at, by)


def cancel(selection: Selection, at: datetime, *, by: str = "") -> Steered:
    """Withdraw deliveries that wait. Raises ``ValueError`` for a selection of everything."""
    return _steer(Step.CANCEL, selection, at, by)


def preview(step: Step, selection: Selection, at: datetime) -> Steered:
    """Return what ``step`` would come to at ``at``, and write nothing."""
    return _judge_all(step, selection, at, write=False)


def steps_for(key: int, at: datetime) -> tuple[Step, ...]:
    """Return what a person can do with one delivery; sending again what is in doubt included."""
    rows = Delivery.objects.using(database()).filter(pk=key)
    return tuple(
        step
        for row in _facts_of(rows)
        for step in Step
        if refusal(step, row, at, unknown_too=True) is None
    )


def _steer(step: Step, selection: Selection, at: datetime, by: str) -> Steered:
    steered = _judge_all(step, selection, at, write=True)
    logger.info(
        "A person's %s%s: deliveries written: %d (mailers: %s), left as they are: %d%s",
        step.value,
        f" ({by})" if by else "",
        steered.count,
        ", ".join(map(repr, steered.mailers)) or "none",
        sum(steered.refused.values()),
        "".join(f", {reason.value}: {count}" for reason, count in steered.refused.items()),
    )
    return steered


def _judge_all(step: Step, selection: Selection, at: datetime, *, write: bool) -> Steered:
    if selection.is_everything:
        raise ValueError("A selection of everything: say which deliveries are meant.")
    unknown_too = selection.status == Status.UNKNOWN
    using = database()
    done: list[Facts] = []
    refused: Counter[Refusal] = Counter()
    before: Counter[str] = Counter()
    for batch in _batches(selection, using):
        before.update(row.status for row in batch)
        objections = {
            row: refusal(step, row, at, unknown_too=unknown_too) or _overtaken(row, selection)
            for row in batch
        }
        refused.update(reason for reason in objections.values() if reason is not None)
        free = [row for row, reason in objections.items() if reason is None]
        if write and free:
            work = partial(_WRITERS[step], free, at, using, unknown_too=unknown_too)
            written = atomically(work, using)
            refused[Refusal.OVERTAKEN] += len(free) - len(written)
            free = [row for row in free if row.pk in written]
        done += free
    after = Counter(before)
    after.subtract(row.status for row in done)
    after.update(row.after(step) for row in done)
    return Steered(
        deliveries=tuple(row.pk for row in done),
        messages=tuple(sorted({row.message for row in done})),
        mailers=tuple(sorted({row.mailer for row in done})),
        scheduled=sum(step == Step.RETRY and row.is_scheduled(at) for row in done),
        groups=Counter(row.group for row in done),
        refused={reason: refused[reason] for reason in Refusal if refused[reason]},
        before={status: before[status] for status in Status.values if before[status]},
        after={status: after[status] for status in Status.values if after[status]},
    )


def _overtaken(row: Facts, selection: Selection) -> Refusal | None:
    """Say whether a row is in another status than it was seen in."""
    same = selection.seen is None or row.status in selection.seen
    return None if same else Refusal.OVERTAKEN


def _batches(selection: Selection, using: str) -> Iterator[list[Facts]]:
    """Yield the selected rows in order; what is stored meanwhile is not among them."""
    rows = Delivery.objects.using(using).filter(selection.condition())
    if selection.ids is None:
        batches = _key_batches(rows)
    else:
        ids = sorted(set(selection.ids))
        batches = (ids[first : first + _BATCH] for first in range(0, len(ids), _BATCH))
    for keys in batches:
        yield _facts_of(rows.filter(pk__in=keys))


def _key_batches(rows: QuerySet[Delivery]) -> Iterator[list[int]]:
    """Yield primary keys by themselves: what else is read must not depend on how many there are."""
    every = Delivery.objects.using(rows.db).order_by("-pk").values_list("pk", flat=True)
    newest, last, full = every.first() or 0, 0, True
    while full:
        ahead = rows.filter(pk__gt=last, pk__lte=newest).order_by("pk")
        keys = list(ahead.values_list("pk", flat=True)[:_BATCH])
        yield keys
        full = len(keys) == _BATCH
        last = keys[-1] if keys else newest


def _facts_of(rows: QuerySet[Delivery]) -> list[Facts]:
    values = rows.order_by("pk").values_list(
        "pk",
        "message_id",
        "mailer",
        "domain",
        "category",
        "status",
        "lane",
        "message__send_at",
        "expires_at",
        "message__body",
        "attempt_count",
    )
    return [Facts._make(row) for row in values]


def _make_due(rows: Sequence[Facts], at: datetime, using: str, *, unknown_too: bool) -> set[int]:
    """Write what a new mail would have; category and reply stay those of the latest attempt."""
    statuses = (*_AGAIN, Status.UNKNOWN) if unknown_too else _AGAIN
    content = Content.objects.using(using).filter(pk=OuterRef("message_id"))
    latest = Attempt.objects.using(using).filter(delivery=OuterRef("pk")).order_by("-number")
    by_due: defaultdict[datetime, list[Facts]] = defaultdict(list)
    for row in rows:
        by_due[max(at, row.send_at or at)].append(row)
    written: set[int] = set()
    for due, group in by_due.items():
        written |= _swap(
            group,
            Q(Exists(content), status__in=statuses),
            using,
            status=Case(
                When(attempt_count=0, then=Value(Status.QUEUED)), default=Value(Status.DEFERRED)
            ),
            category=Coalesce(Subquery(latest.values("category")[:1]), Value("")),
            lane=lane_by_attempts() if due <= at else Lane.IDLE,
            next_attempt_at=due,
            age_from=due,
            delay_notice_at=due + FIRST_NOTICE,
            step=0,
            unknowns=0,
            leases_lost=0,
            parked_at=None,
            settled_at=None,
        )
    _reopen_messages({row.message for row in rows if row.pk in written}, using)
    return written


def _reopen_messages(keys: set[int], using: str) -> None:
    """Let the messages be unsettled again.

    Somebody who settles the last other delivery of one at this moment does not
    see ours; so it is written whatever is there, after whoever was first. They
    are locked in the order in which others lock them.
    """
    messages = Message.objects.using(using).filter(pk__in=keys)
    if connections[using].features.has_select_for_update:
        list(messages.order_by("pk").select_for_update().values_list("pk"))
    messages.update(settled_at=None, mode=Message.Mode.QUEUE)


def _settle_as_sent(
    rows: Sequence[Facts], at: datetime, using: str, *, unknown_too: bool
) -> set[int]:
    written = _swap(
        rows,
        _IN_DOUBT,
        using,
        **_ended(Status.SENT, at),
        category=Category.OK,
        code=None,
        enhanced_code="",
        reply=storable(
            said(
                "A person said at %(time)s UTC that it arrived; no reply did.",
                time=f"{at:%Y-%m-%d %H:%M:%S}",
            )
        ),
    )
    finish_messages((row.message for row in rows if row.pk in written), at, using)
    events.emit(dict.fromkeys(written, Status.SENT.value), at, using)
    return written


def _withdraw(rows: Sequence[Facts], at: datetime, using: str, *, unknown_too: bool) -> set[int]:
    written = _swap(rows, Q(status__in=WAITING), using, **_ended(Status.CANCELLED, at))
    finish_messages((row.message for row in rows if row.pk in written), at, using)
    events.emit(dict.fromkeys(written, Status.CANCELLED.value), at, using)
    return written


_WRITERS = {
    Step.RETRY: _make_due,
    Step.ARRIVED: _settle_as_sent,
    Step.CANCEL: _withdraw,
}


def _ended(status: Delivery.Status, at: datetime) -> dict[str, Any]:
    return {
        "status": status,
        "lane": Lane.OUT,
        "next_attempt_at": None,
        "parked_at": None,
        "delay_notice_at": None,
        "settled_at": at,
    }


def _swap(rows: Sequence[Facts], still: Q, using: str, **values: Any) -> set[int]:
    """Write to those of ``rows`` that are ``still`` as they were judged, and return their keys."""
    keys = [row.pk for row in rows]
    ours = Delivery.objects.using(using).filter(pk__in=keys)
    if ours.filter(still).update(**values) == len(keys):
        return set(keys)
    # Nobody else writes them before we commit: whatever bears our values has them from us.
    ours_now = {name: value for name, value in values.items() if not _is_expression(value)}
    return set(ours.filter(**ours_now).values_list("pk", flat=True))


def _is_expression(value: object) -> bool:
    return hasattr(value, "resolve_expression")
