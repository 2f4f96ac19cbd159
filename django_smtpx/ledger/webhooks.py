"""What people and the retention do with webhooks and their events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db.models import Q

from django_smtpx.ledger.posting import ERROR_LENGTH, events_of, hurry, standing
from django_smtpx.ledger.rows import database, patiently, storable, update_all
from django_smtpx.models import WebhookEndpoint, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

State = WebhookEvent.State

MOST_COUNTED = 10_000
"""Waiting events of an endpoint that are counted."""

_BATCH = 500

logger = logging.getLogger("django_smtpx.webhooks")


def enable_webhook(name: str, at: datetime) -> int:
    """Let events be posted to the endpoint again, from anew, and count those that wait.

    What waits is due at once; what was given up stays so.
    """
    using = database()
    rows = WebhookEndpoint.objects.using(using).filter(name=name)
    opened = {"disabled_at": None, "failures": 0, "failing_since": None, "rests_until": None}
    patiently(lambda: rows.update(**opened, error=""), using)
    hurry(name, at)
    logger.info("Webhook %r is enabled.", name)
    return waiting_events(name)


def disable_webhook(name: str, at: datetime, reason: str) -> None:
    """Post no event to the endpoint until it is enabled; what happens is stored all the same."""
    using = database()
    standing(name)
    rows = WebhookEndpoint.objects.using(using).filter(name=name, disabled_at=None)
    error = storable(reason)[:ERROR_LENGTH]
    patiently(lambda: rows.update(disabled_at=at, error=error), using)
    logger.info("Webhook %r is disabled: %s", name, reason)


def replay_events(name: str, at: datetime, *, since: datetime | None, given_up: bool) -> int:
    """Let ended events of the endpoint be told once more, by the same ids, and count them.

    Those that happened from ``since`` on, or those that were given up, or both.
    """
    ended = events_of(name).filter(next_attempt_at=None)
    chosen = Q()
    if since is not None:
        chosen &= Q(created_at__gte=since)
    if given_up:
        chosen &= Q(state=State.GIVEN_UP)
    if not chosen:
        raise ValueError("All of them: say from when on.")
    anew = {"state": State.WAITING, "done_at": None, "attempts": 0, "first_tried_at": None}
    return update_all(ended.filter(chosen).order_by("pk"), **anew, next_attempt_at=at)


def waiting_events(name: str, most: int = MOST_COUNTED) -> int:
    """Count the events that wait for the endpoint, up to ``most``."""
    return events_of(name).filter(next_attempt_at__isnull=False)[:most].count()


def forget_events(done_before: datetime, before: datetime, over: Callable[[], bool]) -> bool:
    """Delete events that were done by then, and all that happened ``before``, in bounded batches,
    and say whether that was all; of those that nobody was told of there is a warning.
    """
    using = database()
    rows = WebhookEvent.objects.using(using).order_by("pk")
    last = 0
    while True:
        ahead = rows.filter(pk__gt=last)
        batch = list(ahead.values_list("pk", "state", "created_at", "done_at")[:_BATCH])
        untold = [pk for pk, state, at, _ in batch if state == State.WAITING and at <= before]
        old = [pk for pk, _, at, done in batch if at <= before or (done and done <= done_before)]
        if old:
            gone = rows.filter(pk__in=old)
            patiently(lambda gone=gone: gone._raw_delete(using), using)  # type: ignore[misc]
        if untold:
            logger.warning("Retention deleted events that no webhook was told of: %d", len(untold))
        young = all(at > done_before for _, _, at, _ in batch)
        if len(batch) < _BATCH or young:
            return True
        if over():
            return False
        last = batch[-1][0]
