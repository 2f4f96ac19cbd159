"""What is told of attempts that are committed: the log's record of each, and the signals.

Nothing of it can change an outcome, and where nobody listens it costs a look.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django_smtpx import signals, tracing
from django_smtpx.ledger.rows import database
from django_smtpx.models import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.ledger.rows import Booking

    Written = tuple[Booking, int]
    """What was written, and the number of its attempt."""

Outcome = Attempt.Outcome

logger = logging.getLogger("django_smtpx.delivery")

FIELDS = (
    "delivery",
    "message",
    "mailer",
    "domain",
    "attempt",
    "outcome",
    "status",
    "category",
    "action",
    "rule",
    "phase",
    "command",
    "code",
    "enhanced_code",
    "reply",
    "host",
    "ip",
    "port",
    "tls",
    "tls_verified_by",
    "duration",
    "phases",
    "age",
    "next_attempt_at",
)
"""What a record says of an attempt, each as an attribute with ``smtpx_`` in front.

As in the rows, but that ``delivery`` is a key and ``message`` a UUID; ``phases`` are the seconds
that each phase was waited for, by its name; ``age`` is the seconds from
when the delivery was due first until the attempt ended, and ``next_attempt_at`` is in ISO 8601, or
None. No recipient, no subject, no content.
"""

_TRACED = (
    "delivery",
    "attempt",
    "outcome",
    "status",
    "category",
    "action",
    "rule",
    "phase",
    "command",
    "code",
    "enhanced_code",
    "tls",
    "tls_verified_by",
)
"""What a span says of it, with ``smtpx.`` in front: nothing that names a person or a domain."""

_TEXT = "Attempt %d of delivery %d (%s to %s): %s, %s"


def tell(written: Sequence[Written]) -> None:
    """Tell of outcomes that are committed; rows are read for those alone that somebody hears of."""
    _signal(written)
    # Last, since a site's own filter may raise.
    record(written)


def record(written: Sequence[Written]) -> None:
    """Write a record of each attempt, at level INFO, whatever its outcome, and its span where the
    message was stored within one.
    """
    try:
        for booking, number in written:
            if booking.row.traceparent:
                _trace(booking, number)
    finally:
        if logger.isEnabledFor(logging.INFO):
            for booking, number in written:
                _log(booking, number)


def _signal(written: Sequence[Written]) -> None:
    signals.tell_counts([(b.decision.outcome, b.decision.category) for b, _ in written])
    heard = {
        (booking.row.pk, number)
        for booking, number in written
        if signals.listens_to(booking.decision.outcome)
    }
    if not heard:
        return
    attempts = Attempt.objects.using(database()).filter(delivery__in=[key for key, _ in heard])
    for attempt in attempts.select_related("delivery__message").order_by("pk"):
        if (attempt.delivery_id, attempt.number) in heard:
            signals.tell_counted(attempt.delivery, attempt)


def _trace(booking: Booking, number: int) -> None:
    row, facts = booking.row, _facts(booking, number)
    attributes = {
        "messaging.message.id": facts["message"],
        "server.address": facts["host"],
        "server.port": facts["port"],
        "network.peer.address": facts["ip"],
        **{f"smtpx.{name}": facts[name] for name in _TRACED},
        **{f"smtpx.seconds.{phase}": seconds for phase, seconds in facts["phases"].items()},
    }
    ends_badly = booking.decision.outcome in (Outcome.FAILED, Outcome.UNKNOWN)
    tracing.attempted(
        row.traceparent,
        row.mailer,
        {name: value for name, value in attributes.items() if value not in (None, "")},
        began=booking.started_at,
        took=booking.duration,
        error=facts["category"] if ends_badly else "",
    )


def _log(booking: Booking, number: int) -> None:
    row, result = booking.row, booking.result
    facts = _facts(booking, number)
    codes = " ".join(str(part) for part in (result.code, result.enhanced_code) if part)
    said = " ".join(part for part in (codes, " ".join(result.reply.split())) if part)
    logger.info(
        _TEXT,
        number,
        row.pk,
        row.mailer or "-",
        row.domain or "-",
        booking.decision.outcome,
        said or result.category,
        extra={f"smtpx_{name}": facts[name] for name in FIELDS},
    )


def _facts(booking: Booking, number: int) -> dict[str, Any]:
    row, result, decision = booking.row, booking.result, booking.decision
    again = decision.next_attempt_at
    age = (booking.started_at - row.age_from).total_seconds() + booking.duration
    return {
        "delivery": row.pk,
        "message": str(row.uuid),
        "mailer": row.mailer,
        "domain": row.domain,
        "attempt": number,
        "outcome": decision.outcome,
        "status": decision.status,
        "category": result.category,
        "action": result.action,
        "rule": result.rule,
        "phase": result.phase,
        "command": result.command,
        "code": result.code,
        "enhanced_code": result.enhanced_code,
        "reply": result.reply,
        "host": result.host,
        "ip": result.ip,
        "port": result.port or None,
        "tls": result.tls,
        "tls_verified_by": result.tls_verified_by,
        "duration": booking.duration,
        "phases": {name: round(seconds, 6) for name, seconds in booking.phases.items()},
        "age": max(age, 0.0),
        "next_attempt_at": again.isoformat() if again is not None else None,
    }
