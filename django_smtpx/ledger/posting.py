"""Events under a lease: claimed for an endpoint, booked, given back; and how the endpoints do.

Of one delivery an endpoint is told one event at a time, in their order: what is not done or given
up holds back what comes behind it.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from django_smtpx.ledger.clock import Lease
from django_smtpx.ledger.rows import (
    atomically,
    database,
    patiently,
    storable,
    update_all,
    update_some,
)
from django_smtpx.models import WebhookEndpoint, WebhookEvent
from django_smtpx.webhooks import FIRST_FAILURES, is_dead, rest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from django_smtpx.webhooks import Answer, Endpoint, Fate

State = WebhookEvent.State

SLACK = timedelta(seconds=1)
"""What was stored at this moment is due, though clocks are read to the millisecond at best, and a
batch goes by one that was read before it.
"""

ERROR_LENGTH = 255
"""Characters that a row has for an error."""


logger = logging.getLogger("django_smtpx.webhooks")


class Event(NamedTuple):
    """One claimed event: what is posted, and what its next try is decided by."""

    pk: int
    uuid: UUID
    delivery_key: int
    event: str
    body: str
    attempts: int
    first_tried_at: datetime | None


class Posted(NamedTuple):
    """What came of posting an event at a time."""

    event: Event
    answer: Answer
    fate: Fate
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How an endpoint does."""

    failures: int = 0
    failing_since: datetime | None = None
    rests_until: datetime | None = None
    disabled_at: datetime | None = None
    error: str = ""

    def is_open(self, at: datetime) -> bool:
        """Say whether events are posted to it at that time."""
        rests = self.rests_until is not None and self.rests_until > at
        return self.disabled_at is None and not rests


def standing(name: str) -> Standing:
    """Return how the endpoint does, by one statement once it has a row."""
    using = database()
    rows = WebhookEndpoint.objects.using(using)
    fields = ("failures", "failing_since", "rests_until", "disabled_at", "error")
    found = rows.filter(name=name).values_list(*fields).first()
    if found is None:
        row = WebhookEndpoint(name=name)
        patiently(lambda: rows.bulk_create([row], ignore_conflicts=True), using)
        return Standing()
    return Standing(*found)


def posting_now(name: str, at: datetime) -> int:
    """Count who else posts to the endpoint at that time."""
    held = events_of(name).filter(lease_expires_at__gt=at, next_attempt_at__isnull=False)
    return held.values("lease_token").distinct().count()


def due_endpoints(names: Iterable[str], at: datetime) -> list[str]:
    """Return those of these endpoints that are open and have events to be told."""
    return [name for name in names if standing(name).is_open(at) and _due(name, at)[:1]]


def claim_events(name: str, limit: int, lease_seconds: float) -> tuple[Lease, list[Event]]:
    """Lease up to ``limit`` events that are due, of each delivery its first; those due first come
    first.

    A lease that has run out is nobody's: a worker that died needs no sweep for its events.
    """
    using = database()
    lease = Lease.begin(lease_seconds, using)
    due = _due(name, lease.read_at)
    taken = {"lease_token": lease.token, "lease_expires_at": lease.renewed_until()}

    def take() -> int:
        if connections[using].features.has_select_for_update_skip_locked:
            free = due.select_for_update(skip_locked=True)
            chosen = list(free.values_list("pk", flat=True)[:limit])
            rows = WebhookEvent.objects.using(using).filter(pk__in=chosen)
            return rows.update(**taken)
        return update_some(due, limit, **taken)

    if not atomically(take, using):
        return lease, []
    held = _held(name, lease).order_by("next_attempt_at", "pk")
    return lease, [Event._make(values) for values in held.values_list(*Event._fields)]


def book_posts(
    endpoint: Endpoint, lease: Lease, posted: Sequence[Posted], before: Standing
) -> Standing:
    """Write what came of events claimed under ``lease``, and of their endpoint; return how that
    does now, if it was as ``before``.

    What somebody else has claimed since is theirs.
    """
    using = database()
    after = _after(endpoint, posted, before)

    def write() -> None:
        held = _held(endpoint.name, lease)
        done = [one.event.pk for one in posted if one.fate.done]
        if done:
            held.filter(pk__in=done).update(**_ended(State.DONE, lease.now()), error="")
        for one in posted:
            if not one.fate.done:
                _put_off(endpoint.name, held, one)
        if after != before:
            _write_standing(endpoint.name, after, using)

    if posted:
        atomically(write, using)
        _say(endpoint, posted, before, after)
        if not after.failures and before.failures >= FIRST_FAILURES:
            hurry(endpoint.name, posted[-1].at)
    return after


def release_events(name: str, lease: Lease) -> None:
    """Give back what is claimed under ``lease`` still."""
    held = _held(name, lease)
    patiently(lambda: held.update(lease_token=None, lease_expires_at=None), database())


def events_of(name: str) -> QuerySet[WebhookEvent]:
    """Return all events of an endpoint."""
    return WebhookEvent.objects.using(database()).filter(endpoint=name)


def _due(name: str, at: datetime) -> QuerySet[WebhookEvent]:
    """Return what may be claimed, along the index of what is due."""
    earlier = events_of(name).filter(
        delivery_key=OuterRef("delivery_key"), pk__lt=OuterRef("pk"), next_attempt_at__isnull=False
    )
    free = Q(lease_expires_at=None) | Q(lease_expires_at__lte=at)
    due = events_of(name).filter(free, ~Exists(earlier), next_attempt_at__lte=at + SLACK)
    return due.order_by("next_attempt_at", "pk")


def _held(name: str, lease: Lease) -> QuerySet[WebhookEvent]:
    return events_of(name).filter(lease_expires_at__gte=lease.read_at, lease_token=lease.token)


def _ended(state: str, at: datetime | None) -> dict[str, object]:
    return {
        "state": state,
        "done_at": at,
        "next_attempt_at": None,
        "attempts": F("attempts") + 1,
        "lease_token": None,
        "lease_expires_at": None,
    }


def _put_off(name: str, held: QuerySet[WebhookEvent], one: Posted) -> None:
    """Write a try that failed, and let what is behind it wait as long: no claim passes over it."""
    again = one.at + timedelta(seconds=one.fate.delay)
    values = _ended(State.WAITING, None) | {"next_attempt_at": again}
    if one.fate.given_up:
        values = _ended(State.GIVEN_UP, None)
    said = storable(str(one.answer))[:ERROR_LENGTH]
    first = Coalesce("first_tried_at", one.at)
    if not held.filter(pk=one.event.pk).update(**values, error=said, first_tried_at=first):
        return
    if not one.fate.given_up:
        behind = events_of(name).filter(delivery_key=one.event.delivery_key, pk__gt=one.event.pk)
        behind.filter(next_attempt_at__lt=again).update(next_attempt_at=again)


def _after(endpoint: Endpoint, posted: Sequence[Posted], before: Standing) -> Standing:
    """Return how an endpoint does after these posts."""
    now = before
    for one in posted:
        if one.fate.done:
            now = Standing(disabled_at=now.disabled_at)
            continue
        failures, since = now.failures + 1, now.failing_since or one.at
        pause = rest(one.fate, failures, one.answer.retry_after)
        failing = (one.at - since).total_seconds()
        dead = is_dead(one.fate, failures, failing, endpoint.disable_after)
        now = Standing(
            failures=failures,
            failing_since=since,
            rests_until=one.at + timedelta(seconds=pause) if pause else now.rests_until,
            disabled_at=now.disabled_at or (one.at if dead else None),
            error=storable(str(one.answer))[:ERROR_LENGTH],
        )
    return now


def _write_standing(name: str, after: Standing, using: str) -> None:
    """Write how an endpoint does; a person who has disabled it meanwhile has the last word."""
    rows = WebhookEndpoint.objects.using(using).filter(name=name)
    values = asdict(after)
    if after.disabled_at is None:
        del values["disabled_at"]
    rows.update(**values)


def hurry(name: str, at: datetime) -> None:
    """Let what an endpoint refused while it was away be due at once, its tries forgotten."""
    later = events_of(name).filter(next_attempt_at__gt=at).order_by("next_attempt_at")
    update_all(later, next_attempt_at=at, attempts=0, first_tried_at=None)


def _say(endpoint: Endpoint, posted: Sequence[Posted], before: Standing, after: Standing) -> None:
    for one in posted:
        if one.fate.given_up:
            text = "Webhook %r: event %s (%s) is given up: %s"
            said = (endpoint.name, one.event.uuid, one.event.event, one.answer)
            logger.error(text, *said)
        elif not one.fate.done:
            text = "Webhook %r: event %s (%s) was not taken: %s"
            logger.info(text, endpoint.name, one.event.uuid, one.event.event, one.answer)
    if after.disabled_at is not None and before.disabled_at is None:
        logger.error(
            "Webhook %r (%s) is disabled, as it took nothing since %s: %s. What happens is stored; "
            "mend it, and run: manage.py smtpx_webhooks enable %s",
            endpoint.name,
            endpoint.where,
            f"{after.failing_since:%Y-%m-%d %H:%M:%S} UTC",
            after.error,
            endpoint.name,
        )
    elif after.failures and not before.failures:
        text = "Webhook %r (%s) fails: %s"
        logger.warning(text, endpoint.name, endpoint.where, after.error)
    elif before.failures and not after.failures:
        logger.info("Webhook %r (%s) takes events again.", endpoint.name, endpoint.where)
