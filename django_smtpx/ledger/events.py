"""What webhooks are told: a row for each event and endpoint, in the transaction that settles it.

The one door for whoever writes an outcome. Each writes its delivery's row first, so that events of
one delivery have keys in their order. With no endpoint that wants them nothing is read or written.
"""

from __future__ import annotations

import json
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.db import transaction

from django_smtpx import signals
from django_smtpx.config import webhooks
from django_smtpx.models import Delivery, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from django_smtpx.webhooks import Endpoint

_KEYS = 500

_OF_MESSAGE = ("uuid", "message_id", "mailer", "tags", "metadata")
_OF_DELIVERY = (
    "recipient",
    "domain",
    "status",
    "category",
    "phase",
    "code",
    "enhanced_code",
    "reply",
    "host",
)
_FIELDS = (
    "pk",
    "mailer",
    *(f"message__{name}" for name in _OF_MESSAGE),
    *_OF_DELIVERY,
    "attempt_count",
    "next_attempt_at",
)
_MOST_REPLY = 1000


def wanted(kinds: Iterable[str]) -> bool:
    """Say whether some endpoint is told of one of these events."""
    hooks = webhooks()
    if not hooks:
        return False
    asked = set(kinds)
    return any(asked & hook.events for hook in hooks.values())


def emit(
    kinds: Mapping[int, str],
    at: datetime,
    using: str,
    *,
    attempted: bool = False,
    reported: bool = False,
) -> None:
    """Write down what happened to deliveries at that time: the events by the deliveries' keys.

    In the transaction that has written it to their rows, and behind that. ``attempted`` says that
    their latest attempt is what is told of, ``reported`` that a report of returned mail said it.
    """
    if not kinds or not wanted(kinds.values()):
        return
    hooks = webhooks().values()
    events: list[WebhookEvent] = []
    for row in _rows(list(kinds), using):
        kind = kinds[row["pk"]]
        telling = [hook for hook in hooks if hook.wants(kind, row["mailer"])]
        if telling:
            events += _events(telling, kind, row, at, attempted=attempted, reported=reported)
    if not events:
        return
    WebhookEvent.objects.using(using).bulk_create(events, batch_size=_KEYS)
    names = {event.endpoint for event in events}
    tell = partial(signals.tell_events_stored, names)
    transaction.on_commit(tell, using=using, robust=True)


def _rows(keys: Sequence[int], using: str) -> Iterator[dict[str, Any]]:
    for first in range(0, len(keys), _KEYS):
        rows = Delivery.objects.using(using).filter(pk__in=keys[first : first + _KEYS])
        yield from rows.order_by("pk").values(*_FIELDS)


def _events(
    hooks: Iterable[Endpoint],
    kind: str,
    row: Mapping[str, Any],
    at: datetime,
    *,
    attempted: bool,
    reported: bool,
) -> Iterator[WebhookEvent]:
    """Yield an event for each endpoint: the same, by the same id."""
    uuid = uuid4()
    again = row["next_attempt_at"]
    payload = {
        "id": str(uuid),
        "type": f"delivery.{kind}",
        "timestamp": _said(at),
        "data": {
            "message": {name: row[f"message__{name}"] for name in _OF_MESSAGE}
            | {"uuid": str(row["message__uuid"])},
            "delivery": row["pk"],
            **{name: row[name] for name in _OF_DELIVERY},
            "reply": row["reply"][:_MOST_REPLY],
            "attempt": row["attempt_count"] if attempted else None,
            "attempts": row["attempt_count"],
            "next_attempt_at": None if again is None else _said(again),
            "reported": reported,
        },
    }
    body = json.dumps(payload, separators=(",", ":"))
    for hook in hooks:
        yield WebhookEvent(
            uuid=uuid,
            endpoint=hook.name,
            delivery_key=row["pk"],
            event=kind,
            body=body,
            created_at=at,
            next_attempt_at=at,
        )


def _said(at: datetime) -> str:
    """Return a time as RFC 3339 has it, in UTC whatever zone the database keeps times in."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
