"""django-post-office: rows with a status; its worker holds no lock on them, but one on a file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from django_smtpx.moving.queues import Busy, Queue, Sleep, aware

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.core.mail import EmailMessage
    from django.db.models import QuerySet

    from django_smtpx.models import Message

_MEDIUM = 1
_ACCEPTED = 10
"""Of its log: somebody else has taken the mail."""


class PostOffice(Queue):
    """Its statuses are numbers: what has none is not in its queue."""

    name = "post_office"
    app = "post_office"
    model_name = "Email"
    added = "created"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Take the file that ``send_queued_mail`` locks, on this machine."""
        from post_office.lockfile import FileLock, FileLocked, default_lockfile

        try:
            held = FileLock(default_lockfile).__enter__()
        except FileLocked:
            text = _("send_queued_mail is at work (%(file)s): stop it, and run this again.")
            raise Busy(text % {"file": f"{default_lockfile}.lock"}) from None
        try:
            yield
        finally:
            held.release()

    def waiting(self) -> QuerySet[Any]:
        """Return what is queued or to be tried again, and has not expired."""
        lives = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self._queued().filter(lives)

    def asleep(self) -> Mapping[Sleep, int]:
        """Count what has expired: it stays in the queue, and is never sent."""
        expired = self._queued().filter(expires_at__lte=timezone.now())
        return {Sleep.EXPIRED: expired.count()}

    def email(self, row: Any) -> EmailMessage:
        """Return the mail rendered, with its attachments."""
        email: Any = row.prepare_email_message()
        scheduled = aware(row.scheduled_time)
        email.send_at = scheduled if scheduled and scheduled > timezone.now() else None
        email.expires_at = aware(row.expires_at)
        email.priority = _MEDIUM if row.priority is None else row.priority
        email.priority -= _MEDIUM
        made: EmailMessage = email
        return made

    def mailer(self, row: Any) -> str | None:
        """Return the alias of the backend, unless that is the default one."""
        from post_office.settings import get_default_mailer

        return None if row.backend_alias in ("", get_default_mailer()) else row.backend_alias

    def take_out(self, rows: Mapping[int, Message]) -> None:
        """Take the status away, and write into its log what became of the mail."""
        at = timezone.now()
        self.rows().filter(pk__in=rows).update(status=None, last_updated=at)
        log: Any = apps.get_model(self.app, "Log")
        said = "Moved to django_smtpx: message {}"
        entries = [
            log(email_id=key, status=_ACCEPTED, message=said.format(message.uuid))
            for key, message in rows.items()
        ]
        log._default_manager.using(self.database).bulk_create(entries)

    def _queued(self) -> QuerySet[Any]:
        from post_office.models import STATUS

        return self.rows().filter(status__in=(STATUS.queued, STATUS.requeued))
