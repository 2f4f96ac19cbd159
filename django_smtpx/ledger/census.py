"""What is in the queue, counted: for whom, why it is still there, and until when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from django.db.models import Case, Count, Min, Q, TextChoices, Value, When
from django.utils.translation import gettext_lazy as _

from django_smtpx.ledger import lanes
from django_smtpx.ledger.asking import Selection
from django_smtpx.ledger.rows import database
from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from django.db.models import QuerySet

Status = Delivery.Status
Lane = Delivery.Lane

IN_THE_QUEUE = (Status.QUEUED, Status.SENDING, Status.DEFERRED, Status.UNKNOWN)
"""What has not ended: an unknown outcome waits for a person's word."""

LOOKED_AT = 10_000
"""Deliveries that :func:`outlook` looks at in one range of an index."""

AGES = tuple(timedelta(minutes=5 * 2**power) for power in range(9))
"""Where one column of a table of ages ends, and the next begins: as Postfix's qshape has them."""


class Wait(TextChoices):
    """What a delivery waits for.

    No row says RATE: it is ready, and what is told of it is told beside (``pacing.kept``).
    """

    SENDING = "sending", _("being sent")
    READY = "ready", _("due now")
    SCHEDULED = "scheduled", _("for its send_at")
    RETRY = "retry", _("for its next attempt")
    REST = "rest", _("for its mailer, domain or sender")
    RATE = "rate", _("for its turn (rate used up)")
    PERSON = "person", _("for a person")
    ENDED = "ended", _("for nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """So many deliveries of one kind.

    ``category`` is what their latest attempt was about, "" where there was none. ``oldest`` is
    from when the age of the oldest counts, ``until`` when the first of them goes on: None where
    that has no time.
    """

    mailer: str
    domain: str
    category: str
    status: str
    wait: Wait
    count: int
    oldest: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Ages:
    """How long the mail to one domain has been waiting: how much of it up to each of
    :data:`AGES`, and how much for longer; ``later`` is not due for the first time yet.
    """

    domain: str
    count: int
    counts: tuple[int, ...]
    later: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """So many deliveries that wait for one thing; ``more`` says that there may be more of them.

    Of those counted, ``oldest`` is from when the age of the oldest counts, and ``due`` the earliest
    time at which one is, or was, due: None where none has such a time.
    """

    wait: Wait
    count: int
    more: bool
    oldest: datetime
    due: datetime | None


def census(selection: Selection, at: datetime) -> list[Waiting]:
    """Count what is in the queue by mailer, domain, category, status and what it waits for; the
    most first.

    With a ``status`` in the selection those deliveries are counted, whether or not they wait.
    """
    rows = _chosen(selection).annotate(wait=_wait(at))
    groups = rows.order_by().values_list("mailer", "domain", "category", "status", "wait")
    found = groups.annotate(Count("pk"), Min("age_from"), Min("next_attempt_at"))
    waiting = [
        Waiting(
            mailer=mailer,
            domain=domain,
            category=category,
            status=status,
            wait=Wait(wait),
            count=count,
            oldest=oldest,
            until=until if wait in (Wait.SCHEDULED, Wait.RETRY, Wait.REST) else None,
        )
        for mailer, domain, category, status, wait, count, oldest, until in found
    ]
    return in_order(waiting)


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return the groups, the most first, and those that have become alike as one."""
    found: dict[tuple[str, ...], Waiting] = {}
    for one in waiting:
        key = (one.mailer, one.domain, one.category, one.status, one.wait)
        other = found.get(key)
        found[key] = one if other is None else _as_one(one, other)
    return sorted(
        found.values(), key=lambda one: (-one.count, one.mailer, one.domain, one.category)
    )


def ages(selection: Selection, at: datetime) -> list[Ages]:
    """Count what is in the queue by domain and age; the most first."""
    due = Q(age_from__lte=at)
    older = [due, *(Q(age_from__lte=at - age) for age in AGES)]
    spans = [*(one & ~other for one, other in pairwise(older)), older[-1]]
    columns = {f"span{number}": Count("pk", filter=span) for number, span in enumerate(spans)}
    rows: Any = _chosen(selection).order_by().values("domain")
    counted = rows.annotate(count=Count("pk"), later=Count("pk", filter=~due), **columns)
    found = [
        Ages(domain, count, tuple(counts), later)
        for domain, count, later, *counts in counted.values_list(
            "domain", "count", "later", *columns
        )
    ]
    return sorted(found, key=lambda one: (-one.count, one.domain))


def waiting_for(wait: Wait, at: datetime) -> Q:
    """Return what waits for one thing at that time, as ranges of indexes."""
    idle = lanes.waiting_in(Lane.IDLE) & lanes.idle()
    own, later = Q(parked_at=None), Q(next_attempt_at__gt=at)
    conditions = {
        Wait.SENDING: Q(status=Status.SENDING),
        Wait.READY: lanes.ready() | (idle & own & Q(next_attempt_at__lte=at)),
        Wait.SCHEDULED: idle & own & later & Q(status=Status.QUEUED),
        Wait.RETRY: idle & own & later & Q(status=Status.DEFERRED),
        Wait.REST: idle & Q(parked_at__isnull=False),
        Wait.PERSON: Q(status=Status.UNKNOWN) | (idle & own & Q(next_attempt_at=None)),
        Wait.ENDED: Q(lane=Lane.OUT) & ~Q(status__in=(Status.SENDING, Status.UNKNOWN)),
    }
    return conditions[wait]


def outlook(at: datetime) -> list[Queued]:
    """Count what is in the queue by what it waits for, but at most :data:`LOOKED_AT` deliveries a
    range of an index, so that it takes no longer with a million of them.
    """
    rows = Delivery.objects.using(database())
    idle = rows.filter(lanes.waiting_in(Lane.IDLE), lanes.idle())
    by_claim = ("lane", "mailer", "destination", "-priority", "pk")
    own, later = Q(parked_at=None), Q(next_attempt_at__gt=at)
    timed = {
        Wait.READY: own & Q(next_attempt_at__lte=at),
        Wait.RETRY: own & later & Q(status=Status.DEFERRED),
        Wait.REST: Q(parked_at__isnull=False),
        Wait.SCHEDULED: own & later & Q(status=Status.QUEUED),
    }
    timeless = {Wait.REST: Q(parked_at__isnull=False), Wait.PERSON: own}
    by_time = idle.order_by("next_attempt_at")
    found = [
        *_counted(rows.filter(status=Status.SENDING).order_by("pk"), {Wait.SENDING: None}),
        *_counted(rows.filter(lanes.ready()).order_by(*by_claim), {Wait.READY: None}),
        *_counted(by_time.filter(next_attempt_at__isnull=False), timed),
        *_counted(by_time.filter(next_attempt_at=None), timeless),
        *_counted(rows.filter(status=Status.UNKNOWN).order_by("pk"), {Wait.PERSON: None}),
    ]
    by_kind = ([one for one in found if one.wait == wait] for wait in Wait)
    return [reduce(_together, some) for some in by_kind if some]


def by_mailer(at: datetime) -> list[tuple[str, Wait, int, datetime | None]]:
    """Count all that is in the queue by mailer and what it waits for, with the earliest time at
    which one of them is, or was, due.
    """
    rows = Delivery.objects.using(database()).filter(status__in=IN_THE_QUEUE)
    groups = rows.annotate(wait=_wait(at)).order_by().values_list("mailer", "wait")
    found = groups.annotate(Count("pk"), Min("next_attempt_at"))
    return [(mailer, Wait(wait), count, due) for mailer, wait, count, due in found]


def waits(mailer: str, domain: str | None, at: datetime) -> dict[str, int]:
    """Count what is in the queue of a mailer, or of it to one domain, by what it waits for."""
    rows = _chosen(Selection(mailer=mailer, domain=domain)).annotate(wait=_wait(at))
    found = dict(rows.order_by().values_list("wait").annotate(Count("pk")))
    return {wait: found[wait] for wait in Wait.values if wait in found}


def _counted(rows: QuerySet[Delivery], kinds: Mapping[Wait, Q | None]) -> Iterator[Queued]:
    """Yield what the first of these rows wait for, by a condition each, in one statement."""
    names = ("pk", "status", "parked_at", "age_from", "next_attempt_at")
    figures: dict[str, Any] = {"all": Count("pk")}
    for kind, its in kinds.items():
        figures[f"{kind}_count"] = Count("pk", filter=its)
        figures[f"{kind}_oldest"] = Min("age_from", filter=its)
        figures[f"{kind}_due"] = Min("next_attempt_at", filter=its)
    found = rows.values(*names)[: LOOKED_AT + 1].aggregate(**figures)
    for kind in kinds:
        if found[f"{kind}_count"]:
            yield Queued(
                wait=kind,
                count=min(found[f"{kind}_count"], LOOKED_AT),
                more=found["all"] > LOOKED_AT,
                oldest=found[f"{kind}_oldest"],
                due=found[f"{kind}_due"],
            )


def _as_one(one: Waiting, other: Waiting) -> Waiting:
    return replace(
        one,
        count=one.count + other.count,
        oldest=min(one.oldest, other.oldest),
        until=min((until for until in (one.until, other.until) if until is not None), default=None),
    )


def _together(one: Queued, other: Queued) -> Queued:
    return Queued(
        wait=one.wait,
        count=one.count + other.count,
        more=one.more or other.more,
        oldest=min(one.oldest, other.oldest),
        due=min((due for due in (one.due, other.due) if due is not None), default=None),
    )


def _chosen(selection: Selection) -> QuerySet[Delivery]:
    rows = Delivery.objects.using(database()).filter(selection.condition())
    return rows if selection.status is not None else rows.filter(status__in=IN_THE_QUEUE)


def _wait(at: datetime) -> Case:
    waits = Q(status__in=(Status.QUEUED, Status.DEFERRED))
    due = Q(lane__gt=Lane.IDLE) | Q(parked_at=None, next_attempt_at__lte=at)
    return Case(
        When(status=Status.SENDING, then=Value(Wait.SENDING)),
        When(status=Status.UNKNOWN, then=Value(Wait.PERSON)),
        When(~waits, then=Value(Wait.ENDED)),
        When(due, then=Value(Wait.READY)),
        When(parked_at__isnull=False, then=Value(Wait.REST)),
        When(next_attempt_at=None, then=Value(Wait.PERSON)),
        When(status=Status.QUEUED, then=Value(Wait.SCHEDULED)),
        default=Value(Wait.RETRY),
    )
