"""Django's messages with the outbox's own attributes declared, for type checkers and editors.

Any ``EmailMessage`` may carry them: the backend asks no class. These declare what it reads before
``send()``, and what is there afterwards; an attribute that is not set is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage, EmailMultiAlternatives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django_smtpx.models import Message

__all__ = ["OutboxAttributes", "OutboxEmailMessage", "OutboxEmailMultiAlternatives"]


class OutboxAttributes:
    """For a message class of the site's own: ``class Letter(OutboxAttributes, EmailMessage)``."""

    envelope_sender: str
    """The reverse path, where bounces go; ``{uuid}`` in it stands for the message."""

    tags: Sequence[str]
    """Words to find the message by."""

    metadata: Mapping[str, Any]
    """What else is to be kept with it, as JSON."""

    send_at: datetime | None
    """When it is to go (aware); in ``"queue"`` mode alone."""

    expires_at: datetime | None
    """From when on it is not worth sending (aware)."""

    priority: int
    """Higher goes first; 0 where it is not set."""

    idempotency_key: str | None
    """A second message with this key and mailer is not stored again."""

    require_tls: bool
    """Whether it travels over verified TLS only, all the way (RFC 8689)."""

    mailer: str
    """The name of the mailer that it goes by, rather than that of its connection."""

    smtpx: Message
    """After ``send()``, in either mode: the stored message."""


class OutboxEmailMessage(OutboxAttributes, EmailMessage):
    """Django's ``EmailMessage``, with the outbox's attributes."""


class OutboxEmailMultiAlternatives(OutboxAttributes, EmailMultiAlternatives):
    """Django's ``EmailMultiAlternatives``, with the outbox's attributes."""
