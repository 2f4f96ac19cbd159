"""django-mailer: pickled mails; its worker locks a file, and each row while it sends it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from django_smtpx.config.settings import raw
from django_smtpx.moving.queues import Busy, Queue, Sleep, Unmovable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.core.mail import EmailMessage
    from django.db.models import QuerySet

    from django_smtpx.models import Message

_MEDIUM = 2
_DEFERRED = 4


class DjangoMailer(Queue):
    """What has failed once is deferred: it waits for ``retry_deferred``."""

    name = "django_mailer"
    app = "mailer"
    model_name = "Message"
    added = "when_added"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Take the file that ``send_mail`` locks, unless the site has it lock none."""
        from mailer import engine

        if not raw("MAILER_USE_FILE_LOCK", True):
            yield
            return
        acquired, lock = engine.acquire_lock()
        if not acquired:
            text = _(
                "send_mail is at work (%(file)s): stop it, and run this again. Where nothing runs "
                "any more, that file is left over: delete it."
            )
            raise Busy(text % {"file": lock.lock_file})
        try:
            yield
        finally:
            engine.release_lock(lock)

    def waiting(self) -> QuerySet[Any]:
        """Return what it would send, and with ``deferred`` what it would once that is retried."""
        rows = self.rows().exclude(priority=_DEFERRED)
        return rows | self._retried() if self.deferred else rows

    def asleep(self) -> Mapping[Sleep, int]:
        """Count what only ``retry_deferred`` would put back, and what not even that would."""
        deferred = self.rows().filter(priority=_DEFERRED).count()
        retried = self._retried().count()
        return {
            Sleep.DEFERRED: 0 if self.deferred else retried,
            Sleep.GIVEN_UP: deferred - retried,
        }

    def email(self, row: Any) -> EmailMessage:
        """Return the mail as it was pickled."""
        email: Any = row.email
        if email is None:
            raise Unmovable(_("What is stored of it cannot be read."))
        email.priority = 0 if row.priority == _DEFERRED else _MEDIUM - row.priority
        made: EmailMessage = email
        return made

    def mailer(self, row: Any) -> str | None:
        """Return None: it knows one way only."""
        return None

    def take_out(self, rows: Mapping[int, Message]) -> None:
        """Delete the rows, as it does with what it has sent."""
        self.rows().filter(pk__in=rows).delete()

    def _retried(self) -> QuerySet[Any]:
        deferred = self.rows().filter(priority=_DEFERRED)
        most = raw("MAILER_EMAIL_MAX_RETRIES")
        return deferred if most is None else deferred.filter(retry_count__lt=most)
