"""Rows for the admin to show, as they come from the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django_smtpx.models import (
    Attempt,
    Content,
    Delivery,
    Message,
    RefusedCredential,
    Route,
    Suppression,
    WebhookEndpoint,
    WebhookEvent,
)

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SOON = timedelta(minutes=5)


def message(subject: str = "Invoice 17", **values: Any) -> Message:
    """Store a message with its content and without deliveries."""
    number = Message.objects.count() + 1
    defaults: dict[str, Any] = {
        "mailer": "default",
        "message_id": f"<{number}@site.example>",
        "envelope_sender": "bounces@site.example",
        "from_header": "Shop <shop@site.example>",
        "size": 2048,
        "created_at": NOW,
    }
    stored = Message.objects.create(subject=subject, **{**defaults, **values})
    Content.objects.create(message=stored, data=b"Subject: x\r\n\r\nthe secret body\r\n")
    return stored


def delivery(
    of: Message | None = None, recipient: str = "ann@example.com", **values: Any
) -> Delivery:
    """Store a delivery, by default one that is queued and due."""
    of = of or message()
    defaults: dict[str, Any] = {
        "mailer": of.mailer,
        "domain": recipient.rpartition("@")[2],
        "age_from": NOW,
        "next_attempt_at": NOW,
    }
    return Delivery.objects.create(message=of, recipient=recipient, **{**defaults, **values})


def attempt(of: Delivery, number: int = 1, **values: Any) -> Attempt:
    """Store an attempt, by default one that was refused with 550 5.1.1."""
    defaults: dict[str, Any] = {
        "started_at": NOW,
        "duration": 0.25,
        "outcome": "failed",
        "category": "mailbox_unknown",
        "action": "fail",
        "phase": "rcpt",
        "command": "RCPT",
        "code": 550,
        "enhanced_code": "5.1.1",
        "reply": "No such user here",
        "host": "mx.example.com",
        "ip": "192.0.2.1",
        "port": 2525,
        "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
        "tls_verified_by": "pkix",
        "transcript": "C: RCPT TO:<ann@example.com>\nS: 550 5.1.1 No such user here",
    }
    return Attempt.objects.create(delivery=of, number=number, **{**defaults, **values})


def refused(of: Message | None = None, recipient: str = "ann@example.com") -> Delivery:
    """Store a delivery that failed at its first attempt."""
    failed = delivery(
        of,
        recipient,
        status="failed",
        category="mailbox_unknown",
        lane=Delivery.Lane.IDLE,
        next_attempt_at=None,
        attempt_count=1,
        phase="rcpt",
        code=550,
        enhanced_code="5.1.1",
        reply="No such user here",
        host="mx.example.com",
        settled_at=NOW,
    )
    attempt(failed)
    return failed


def route(**values: Any) -> Route:
    """Store a route, by default one of a mailer that is held for a refused login."""
    defaults: dict[str, Any] = {
        "mailer": "default",
        "state": "held",
        "category": "auth_failed",
        "pause_reason": "auth 535 5.7.8 Bad credentials",
        "working_mac": "f1n9e7p71n7",
        "consecutive_failures": 2,
        "paused_until": NOW + SOON,
    }
    return Route.objects.create(**{**defaults, **values})


def refused_credential(**values: Any) -> RefusedCredential:
    """Store a credential that was refused twice."""
    defaults: dict[str, Any] = {
        "mailer": "default",
        "mac": "f1n9e7p71n7",
        "refusals": 2,
        "refused_at": NOW,
        "next_probe_at": NOW + SOON,
    }
    return RefusedCredential.objects.create(**{**defaults, **values})


def suppression(address: str = "ann@example.com", **values: Any) -> Suppression:
    """Store an entry of the suppression list, by default one that a refusal made."""
    defaults: dict[str, Any] = {
        "reason": "550 5.1.1 No such user here (mx.example.com)",
        "category": "mailbox_unknown",
        "created_at": NOW,
    }
    return Suppression.objects.create(address=address, **{**defaults, **values})


def webhook(name: str = "crm", **values: Any) -> WebhookEndpoint:
    """Store a webhook, by default one that is disabled."""
    defaults: dict[str, Any] = {
        "disabled_at": NOW,
        "failing_since": NOW,
        "failures": 30,
        "error": "HTTP 503 Service Unavailable",
    }
    return WebhookEndpoint.objects.create(name=name, **{**defaults, **values})


def event(endpoint: str = "crm", **values: Any) -> WebhookEvent:
    """Store an event that waits for a webhook."""
    defaults: dict[str, Any] = {
        "delivery_key": 1,
        "event": "sent",
        "body": '{"type":"delivery.sent"}',
        "created_at": NOW,
        "next_attempt_at": NOW,
    }
    return WebhookEvent.objects.create(endpoint=endpoint, **{**defaults, **values})
