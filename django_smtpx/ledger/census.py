"""What is in the queue, counted: for whom, why it is still there, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from django.db.models import Case, Count, Min, Q, TextChoices, Value, When
from django.utils.translation import gettext_lazy as _

from django_smtpx.ledger.rows import database
from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.ledger.asking import Selection

Status = Delivery.Status
Lane = Delivery.Lane

IN_THE_QUEUE = (Status.QUEUED, Status.SENDING, Status.DEFERRED, Status.UNKNOWN)
"""What has not ended: an unknown outcome waits for a person's word."""

AGES = tuple(timedelta(minutes=5 * 2**power) for power in range(9))
"""Where one column of a table of ages ends, and the next begins: as Postfix's qshape has them."""


class Wait(TextChoices):
    """What a delivery waits for."""

    SENDING = "sending", _("being sent")
    READY = "ready", _("due now")
    SCHEDULED = "scheduled", _("for its send_at")
    RETRY = "retry", _("for its next attempt")
    REST = "rest", _("for its mailer, domain or sender")
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
    return sorted(waiting, key=lambda one: (-one.count, one.mailer, one.domain, one.category))


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
