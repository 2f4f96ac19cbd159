"""What a queue of another package is to whoever moves its mail."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps
from django.db import connections, router
from django.db.models import F, TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from django.core.mail import EmailMessage
    from django.db.models import Model, QuerySet

    from django_smtpx.models import Message

MOVED_FROM = "smtpx_moved_from"
"""The key in the metadata of a mail that was moved: the queue, and its number there."""


class Sleep(TextChoices):
    """Why a mail of the other queue would not be sent by it."""

    EXPIRED = "expired", gettext_lazy("Expired, and left: %(count)s.")
    DEFERRED = "deferred", gettext_lazy("Deferred, and left (--deferred moves them): %(count)s.")
    GIVEN_UP = (
        "given_up",
        gettext_lazy("Given up after MAILER_EMAIL_MAX_RETRIES, and left: %(count)s."),
    )


class NotInstalled(Exception):
    """The other package is not among INSTALLED_APPS; the text says so, to people."""


class Busy(Exception):
    """The worker of the other package is at work; the text says so, to people."""


class Unmovable(Exception):
    """This mail cannot be moved; the text says why, to people."""


class Queue(ABC):
    """The rows of one package that wait to be sent by it.

    ``deferred`` says whether those are meant as well that it sends only once it is told to.
    """

    name: ClassVar[str]
    app: ClassVar[str]
    model_name: ClassVar[str]
    added: ClassVar[str]
    """The field with the time at which a mail was queued."""

    def __init__(self, *, deferred: bool = False) -> None:
        self.deferred = deferred
        if not apps.is_installed(self.app):
            text = _("%(app)r is not among INSTALLED_APPS: keep it there until its mail is moved.")
            raise NotInstalled(text % {"app": self.app})
        self.model: Any = apps.get_model(self.app, self.model_name)

    @property
    def database(self) -> str:
        """The alias of the database that holds the rows."""
        return router.db_for_write(self.model)

    def rows(self) -> QuerySet[Any]:
        """Return all rows of its mail, sent or not, in the database that is written to."""
        found: QuerySet[Any] = self.model._default_manager.using(self.database)
        return found

    def locked(self, keys: Sequence[int]) -> list[Any]:
        """Return those rows of ``keys`` that still wait and that nobody else holds, locked.

        Called in a transaction. Where there are no row locks (SQLite) the transaction begins with
        a write that changes nothing: it has the database to itself from then on.
        """
        rows = self.waiting().filter(pk__in=keys)
        features = connections[self.database].features
        if not features.has_select_for_update:
            rows.update(**{self.added: F(self.added)})
            return list(rows.order_by("pk"))
        skips = features.has_select_for_update_skip_locked
        return list(rows.select_for_update(skip_locked=skips).order_by("pk"))

    def key(self, row: Model) -> str:
        """Return what a row's mail is known by when it is moved: never that of another mail."""
        return f"moved:{self.name}:{row.pk}:{getattr(row, self.added).isoformat()}"

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Keep its worker from beginning until the block ends; raises :class:`Busy`."""

    @abstractmethod
    def waiting(self) -> QuerySet[Any]:
        """Return the rows that it would send, now or at their time."""

    @abstractmethod
    def asleep(self) -> Mapping[Sleep, int]:
        """Count what is in it and would not be sent by it as things are."""

    @abstractmethod
    def email(self, row: Any) -> EmailMessage:
        """Return the mail of a row as it would send it, with our attributes for its wishes.

        Raises :class:`Unmovable`, ``OSError`` for an attachment that is not there, and whatever
        the package itself raises.
        """

    @abstractmethod
    def mailer(self, row: Any) -> str | None:
        """Return the name of the mailer that a row asks for, if it does."""

    @abstractmethod
    def take_out(self, rows: Mapping[int, Message]) -> None:
        """Take rows, by their keys, out of the queue; each has become the message beside it."""


def aware(moment: datetime | None) -> datetime | None:
    """Return a time of a row with its time zone: a site with USE_TZ=False stores none."""
    if moment is None or timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment)
