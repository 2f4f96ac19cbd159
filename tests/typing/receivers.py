"""Receivers of the signals, and a site's own rules for what servers say."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from django.dispatch import Signal, receiver

from django_smtpx.models import Attempt, Delivery, Message
from django_smtpx.signals import delivery_failed, delivery_sent, message_queued
from django_smtpx.smtp import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

assert_type(delivery_sent, Signal)

RULES: Sequence[Rule] = (
    Rule(id="site.full", category="mailbox_full", action="retry", code="552", text="over quota"),
)


@receiver(delivery_failed, sender=Delivery)
def tell_the_shop(
    sender: type[Delivery], delivery: Delivery, attempt: Attempt | None, **kwargs: object
) -> None:
    """Hear of what failed."""
    assert_type(delivery.reply, str)
    if attempt is not None:
        assert_type(attempt.rule, str)


@receiver(message_queued, sender=Message)
def note(sender: type[Message], message: Message, **kwargs: object) -> None:
    """Hear of what was stored."""
    assert_type(message.message_id, str)
