"""An EmailMessage becomes what is stored and sent: addresses, bytes and the sender's wishes.

The bytes, the Message-ID, the Date and the signatures are fixed here, once, so
that every try sends the same mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from django_smtpx import returnpaths
from django_smtpx.addresses import addr_spec
from django_smtpx.compose import content, dkim, wishes
from django_smtpx.compose.copies import COPY_OF, copied
from django_smtpx.compose.values import INTENDED, Composed, once
from django_smtpx.config import secret_keys

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from django.core.mail import EmailMessage

    from django_smtpx.config import Mailer

__all__ = ["COPY_OF", "Composed", "compose", "copied"]


def compose(email_message: EmailMessage, mailer: Mailer, now: datetime) -> Composed | None:
    """Return what ``mailer`` is to store and send for ``email_message``; None for no recipients.

    The message object is not changed. Raises ``ValueError`` for addresses,
    headers and attributes that no mail can have.
    """
    given = list(email_message.recipients())
    if not given:
        return None
    intended = once(addr_spec(address) for address in given)
    asked = wishes.read(email_message, mailer, now=now)
    uuid = uuid4()
    sender = _sender(email_message, uuid)
    redirected = intended if mailer.redirect_to else ()
    if redirected:
        asked["metadata"][INTENDED] = list(redirected)
    written = content.write(email_message, mailer.redirect_to, redirected)
    return Composed(
        sender=sender,
        recipients=once(mailer.redirect_to) if redirected else intended,
        content=dkim.sign(written.content, mailer.dkim, now),
        message_id=written.message_id,
        from_header=written.from_header,
        subject=written.subject,
        uuid=uuid,
        **asked,
    )


def _sender(email_message: EmailMessage, uuid: UUID) -> str:
    """Return the reverse path: "" and "<>" mean the null one (RFC 5321 section 4.5.5).

    ``{uuid}`` in it becomes a token, by which bounces find back to the message.
    """
    wish = getattr(email_message, "envelope_sender", None)
    if wish is None:
        return addr_spec(email_message.from_email)
    if str(wish) in ("", "<>"):
        return ""
    try:
        if "{" in str(wish):
            return addr_spec(returnpaths.filled(str(wish), uuid, secret_keys()))
        return addr_spec(wish)
    except ValueError as error:
        raise ValueError(f"envelope_sender: {error}") from None
