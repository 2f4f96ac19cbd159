"""Django's door in: nothing but the hand-over."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from django_smtpx import ledger, signals, tasks, tracing
from django_smtpx.compose import Composed, compose
from django_smtpx.config import get_mailer, mailer_from_kwargs
from django_smtpx.delivery import deliver_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.core.mail import EmailMessage

    from django_smtpx.config import Mailer
    from django_smtpx.ledger import Stored
    from django_smtpx.models import Message

logger = logging.getLogger("django_smtpx.backend")


class EmailBackend(BaseEmailBackend):
    """Stores mail in the outbox, or delivers it at once, as its mailer's ``mode`` says."""

    def __init__(self, *, alias: str | None = None, **options: Any) -> None:
        options.pop("_ignore_unknown_kwargs", None)
        super().__init__(alias=alias)
        self.alias = alias
        self.mailer = mailer_from_kwargs(alias, options)
        self.fail_silently = self.mailer.fail_silently

    # An error report of Django's has what variables hold: a statement's parameters among them.
    @sensitive_variables()
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Store or send each message, and return how many were.

        Raises ``ValueError`` for a message that cannot be composed, before
        anything is stored. In ``"now"`` mode it raises the
        :class:`~django_smtpx.smtp.SMTPError` of a message that nobody took,
        unless ``fail_silently``.
        """
        mails = [
            _Mail(email, mailer, composed)
            for email in email_messages or ()
            for mailer in (self._mailer_of(email),)
            if (composed := compose(email, mailer, timezone.now())) is not None
        ]
        queued = [mail for mail in mails if mail.mailer.mode == "queue"]
        now = [mail for mail in mails if mail.mailer.mode == "now"]
        # No generator: the frames below one that has ended do not lead to this one.
        return self._store(queued) + sum([self._deliver(mail) for mail in now])

    def _mailer_of(self, email: EmailMessage) -> Mailer:
        name = getattr(email, "mailer", None)
        return self.mailer if name in (None, "") else get_mailer(name)

    def _store(self, mails: list[_Mail]) -> int:
        if not mails:
            return 0
        try:
            stored = store([(mail.mailer, mail.composed) for mail in mails])
        except Exception:
            # The database's, or whatever the storage for large contents raises.
            if not self.fail_silently:
                raise
            logger.exception("Mail could not be stored, and fail_silently is set: it is lost.")
            return 0
        for mail, entry in zip(mails, stored, strict=True):
            mail.email.smtpx = entry.message  # type: ignore[attr-defined]
        return len(mails)

    def _deliver(self, mail: _Mail) -> int:
        message, error = deliver_now(mail.mailer, mail.composed)
        mail.email.smtpx = message  # type: ignore[attr-defined]
        if error is None:
            return 1
        if not self.fail_silently:
            raise error
        return 0


def store(mails: Sequence[tuple[Mailer, Composed]]) -> list[Stored]:
    """Store mails for their mailers; once they are committed workers and listeners are told."""
    names = [mailer.name for mailer, _ in mails]
    with tracing.storing(names, [composed.uuid for _, composed in mails]):
        stored = ledger.store([(mailer.name, composed) for mailer, composed in mails])
    fresh = [entry.message for entry in stored if entry.new]
    if fresh:
        _after_commit(partial(_announce, fresh), ledger.database())
    return stored


class _Mail:
    """One mail on its way through this door."""

    __slots__ = ("composed", "email", "mailer")

    def __init__(self, email: EmailMessage, mailer: Mailer, composed: Composed) -> None:
        self.email = email
        self.mailer = mailer
        self.composed = composed


def _after_commit(work: Callable[[], None], using: str) -> None:
    """Do ``work`` once the mail is committed, unless that is done by hand: nobody tells of it then,
    and the sweep finds the mail.
    """
    connection = connections[using]
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(work, using=using, robust=True)


def _announce(messages: list[Message]) -> None:
    """Wake the mailers whose mail was committed, and tell whoever listens."""
    for name in sorted({message.mailer for message in messages}):
        tasks.wake(name)
    signals.tell_queued(messages)
