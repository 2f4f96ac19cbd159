"""Mail that a person sends from the log: a copy of a message that is there, or a test.

Both are new mail in the queue, stored through the same door as any.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from django.core.mail import EmailMessage
from django.utils import timezone
from django.utils.translation import gettext as _

from django_smtpx import backend
from django_smtpx.compose import compose, copied
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.language import in_language

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django_smtpx.compose import Composed
    from django_smtpx.config import Mailer
    from django_smtpx.ledger import Stored
    from django_smtpx.models import Message

logger = logging.getLogger("django_smtpx.byhand")


class Refused(ValueError):
    """It cannot be sent; the text says why, to people."""


def why_not(name: str) -> str:
    """Return why nothing can be queued for the mailer ``name``; "" where it can."""
    mailer = mailers().get(name)
    if mailer is None:
        if name in mailer_errors():
            text = _("Mailer %(mailer)s is wrongly configured: manage.py check says how.")
            return text % {"mailer": repr(name)}
        return _("Mailer %(mailer)s is not configured.") % {"mailer": repr(name)}
    if mailer.mode != "queue":
        return _(
            "Mailer %(mailer)s delivers in the calling process (mode='now'), and queues nothing."
        ) % {"mailer": repr(name)}
    return ""


def purged() -> str:
    """Return why a message without a content is not copied."""
    return _("The content of the message has been deleted by the retention.")


def copy_of(message: Message, recipients: Iterable[str], name: str) -> tuple[Mailer, Composed]:
    """Return a copy of ``message`` for the mailer ``name`` to send to ``recipients``.

    Raises :class:`Refused` where its content is gone or cannot be had, and for what the mailer
    cannot send.
    """
    mailer = _mailer(name)
    try:
        content = message.content
    except OSError as away:
        text = _("The content of the message cannot be read just now: %(error)s.")
        raise Refused(text % {"error": in_language(away)}) from away
    if content is None:
        raise Refused(purged())
    try:
        return mailer, copied(message, content, recipients, mailer, timezone.now())
    except ValueError as error:
        raise Refused(str(error)) from error


def test_mail(name: str, to: str) -> tuple[Mailer, Composed]:
    """Return a small plain mail from DEFAULT_FROM_EMAIL to ``to``, for the mailer ``name``.

    Raises :class:`Refused` for what the mailer cannot send.
    """
    mailer = _mailer(name)
    email = EmailMessage(
        _("A test of the mailer %(mailer)s") % {"mailer": name},
        _("This mail was sent from the admin\nto find out whether the mailer %(mailer)s works.\n")
        % {"mailer": name},
        to=[to],
    )
    try:
        composed = compose(email, mailer, timezone.now())
    except ValueError as error:
        raise Refused(str(error)) from error
    assert composed is not None  # it has a recipient
    return mailer, composed


def send(mailer: Mailer, mail: Composed, *, by: str, once: UUID) -> Stored:
    """Queue a mail of the above, and return its row; ``by`` is for the log.

    Whoever asks twice with the same ``once``, by a double click maybe, gets the row of the first
    time, which is no new one.
    """
    (stored,) = backend.store([(mailer, replace(mail, idempotency_key=f"by-hand-{once}"))])
    if stored.new:
        logger.info("Message %s is queued for %s (%s)", mail.uuid, mailer.name, by)
    return stored


def _mailer(name: str) -> Mailer:
    reason = why_not(name)
    if reason:
        raise Refused(reason)
    return mailers()[name]
