"""Mail with the outbox's attributes, and what is stored of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type
from uuid import UUID

from django.core.mail import EmailMessage
from django.utils import timezone

from django_smtpx.backend import EmailBackend
from django_smtpx.message import OutboxAttributes, OutboxEmailMessage
from django_smtpx.models import Attempt, Category, Delivery, Message, Route, Suppression

if TYPE_CHECKING:
    from django.db.models import QuerySet


class Letter(OutboxAttributes, EmailMessage):
    """A class of the site's own."""


def send_invoice(to: str) -> UUID:
    """Send a mail with all that it may carry."""
    message = OutboxEmailMessage("Invoice 17", "…", "shop@example.com", [to])
    message.envelope_sender = "bounce+{uuid}@example.com"
    message.tags = ["invoice"]
    message.metadata = {"order": 17}
    message.send_at = timezone.now() + timedelta(hours=1)
    message.expires_at = None
    message.priority = 10
    message.idempotency_key = "invoice-17"
    message.require_tls = True
    message.mailer = "default"
    assert_type(message.send(), int)
    assert_type(message.smtpx, Message)
    assert_type(Letter().smtpx, Message)
    assert_type(EmailBackend().send_messages([message]), int)
    return message.smtpx.uuid


def ask(message: Message, delivery: Delivery, attempt: Attempt) -> None:
    """Read what is known of a mail."""
    assert_type(message.uuid, UUID)
    assert_type(message.subject, str)
    assert_type(message.size, int)
    assert_type(message.priority, int)
    assert_type(message.send_at, datetime | None)
    assert_type(message.created_at, datetime)
    assert_type(message.tags, list[str])
    assert_type(message.metadata, dict[str, Any])
    assert_type(message.content, bytes | None)
    assert_type(message.deliveries.first(), Delivery | None)
    assert_type(delivery.message, Message)
    assert_type(delivery.recipient, str)
    assert_type(delivery.status, str)
    assert_type(delivery.attempt_count, int)
    assert_type(delivery.code, int | None)
    assert_type(delivery.settled_at, datetime | None)
    assert_type(attempt.delivery, Delivery)
    assert_type(attempt.duration, float)
    assert_type(attempt.ip, str)
    assert_type(Delivery.Status.FAILED.value, str)
    assert_type(Category.MAILBOX_FULL.value, str)


def refused(message: OutboxEmailMessage, delivery: Delivery) -> None:
    """Make mistakes: where one is no longer found, its comment is one too many, which is an error."""
    message.priority = "high"  # type: ignore[assignment]
    message.tags = 17  # type: ignore[assignment]
    delivery.code = "550"  # type: ignore[assignment]
    message.smtpx.delivery.first()  # type: ignore[attr-defined]
    EmailBackend(mailer="bulk", alias=1)  # type: ignore[arg-type]


def failed() -> QuerySet[Delivery]:
    """Choose rows."""
    failed = Delivery.objects.filter(status=Delivery.Status.FAILED, message__mailer="default")
    assert_type(failed.first(), Delivery | None)
    assert_type(Route.objects.get().state, str)
    assert_type(Suppression.objects.filter(address="a@example.com").exists(), bool)
    return failed
