"""Rows and values that many tests begin with."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.compose import Composed
from django_smtpx.ledger import Booking, Lease, Row
from django_smtpx.models import Delivery, Message
from django_smtpx.retry import Decision
from django_smtpx.smtp import Result

_numbers = count(1)


def composed(recipients: tuple[str, ...] = ("to@example.com",), **values: Any) -> Composed:
    """Return a small composed mail with a Message-ID of its own."""
    number = next(_numbers)
    message_id = f"<{number}@tests.example>"
    content = (
        f"From: from@example.com\r\nTo: to@example.com\r\nSubject: Test {number}\r\n"
        f"Message-ID: {message_id}\r\n\r\nHello {number}\r\n"
    ).encode()
    defaults: dict[str, Any] = {
        "sender": "from@example.com",
        "recipients": recipients,
        "content": content,
        "message_id": message_id,
        "from_header": "from@example.com",
        "subject": f"Test {number}",
        "priority": 0,
        "send_at": None,
        "expires_at": None,
        "tags": [],
        "metadata": {},
        "idempotency_key": None,
        "mailer": None,
    }
    return Composed(**{**defaults, **values})


def stored(*recipients: str, mailer: str = "default", **values: Any) -> Message:
    """Store a mail for ``recipients`` and return its row."""
    mail = composed(recipients or ("to@example.com",), **values)
    return ledger.store([(mailer, mail)])[0].message


def claimed(
    limit: int = 100, mailer: str = "default", seconds: float = 300.0
) -> tuple[Lease, list[Row]]:
    """Claim what is ready: what is new, or else what was tried before."""
    lease, rows = ledger.claim(mailer, limit, seconds)
    if rows:
        return lease, rows
    return ledger.claim(mailer, limit, seconds, lane=Delivery.Lane.AGAIN)


def result(recipient: str = "to@example.com", outcome: str = "sent", **values: Any) -> Result:
    """Return a result of the wire; by default the 250 after the content."""
    defaults: dict[str, Any] = {
        "category": "ok" if outcome == "sent" else "other_temporary",
        "action": "none" if outcome == "sent" else "retry",
        "phase": "eod",
        "command": "DATA",
        "code": 250,
        "enhanced_code": "2.0.0",
        "reply": f"Ok: queued for {recipient}",
        "host": "mx.example.com",
        "ip": "192.0.2.1",
        "port": 25,
    }
    return Result(recipient=recipient, outcome=outcome, **{**defaults, **values})  # type: ignore[arg-type]


def booking(row: Row, status: str = "sent", **values: Any) -> Booking:
    """Return what would be written for ``row``."""
    outcome = {"sent": "sent", "deferred": "deferred", "failed": "failed"}.get(status, "unknown")
    answer = values.pop("result", None) or result(row.recipient, outcome)
    decision = Decision(
        status=status,
        category=answer.category,
        outcome=outcome,
        step=values.pop("step", row.step),
        unknowns=values.pop("unknowns", row.unknowns),
        next_attempt_at=values.pop("next_attempt_at", None),
    )
    return Booking(row=row, result=answer, decision=decision, started_at=timezone.now(), **values)


def default_connection() -> Any:
    """Return the default mailer's backend, as Django makes it in this version."""
    from django.core import mail

    return mail.mailers.default if hasattr(mail, "mailers") else mail.get_connection()


def statuses(message: Message | None = None) -> list[str]:
    """Return the statuses of all deliveries, or of those of one message, in order."""
    rows = Delivery.objects.order_by("pk")
    if message is not None:
        rows = rows.filter(message=message)
    return list(rows.values_list("status", flat=True))
