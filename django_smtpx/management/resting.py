"""What ``smtpx_pause`` and ``smtpx_resume`` share: what is meant, and what waits for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from django_smtpx import ledger
from django_smtpx.addresses import a_labels
from django_smtpx.models import Delivery, Route

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

LONGEST = timedelta(days=3650)

_WAITING = (Delivery.Status.QUEUED, Delivery.Status.DEFERRED)

_DURATION = re.compile(
    r"(?:(?P<days>\d{1,6})d)?(?:(?P<hours>\d{1,6})h)?(?:(?P<minutes>\d{1,6})m)?"
    r"(?:(?P<seconds>\d{1,9})s)?",
    re.ASCII,
)
_DOMAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class Scope:
    """A mailer, or its mail to one domain."""

    mailer: str
    domain: str = ""

    def __str__(self) -> str:
        values = {"mailer": repr(self.mailer), "domain": self.domain}
        if self.domain:
            return _("Mail of %(mailer)s to %(domain)s") % values
        return _("Mailer %(mailer)s") % values

    @property
    def arguments(self) -> str:
        """How the commands name it."""
        return f"{self.mailer} --domain {self.domain}" if self.domain else self.mailer

    def deliveries(self) -> QuerySet[Delivery]:
        """Return the rows that are meant."""
        rows = Delivery.objects.using(ledger.database()).filter(mailer=self.mailer)
        return rows.filter(domain=self.domain) if self.domain else rows

    def waiting(self) -> int:
        """Count what waits, whatever for."""
        return self.deliveries().filter(status__in=_WAITING).count()

    def sending(self) -> int:
        """Count what a worker has claimed."""
        return self.deliveries().filter(status=Delivery.Status.SENDING).count()

    def ready(self) -> int:
        """Count what the next drain may take."""
        return self.deliveries().filter(lane__gt=Delivery.Lane.IDLE).count()


def resting_routes(mailer: str, at: datetime) -> QuerySet[Route]:
    """Return what rests at ``at`` of a mailer: itself first, then its domains and senders."""
    routes = Route.objects.using(ledger.database()).filter(mailer=mailer, host="")
    found = routes.exclude(state=Route.State.OPEN).exclude(paused_until__lte=at)
    return found.order_by("domain", "sender")


def duration(text: str) -> timedelta:
    """Return how long "90s", "15m", "2h", "1d" or "1h30m" is; a CommandError for anything else."""
    found = _DURATION.fullmatch(text)
    parts: dict[str, Any] = {} if found is None else found.groupdict(default="0")
    length = timedelta(**{unit: int(number) for unit, number in parts.items()})
    if not length:
        error = _("%(text)s is no duration. Write 90s, 15m, 2h, 1d or 1h30m.")
        raise CommandError(error % {"text": repr(text)})
    if length > LONGEST:
        error = _("%(text)s is longer than ten years. Leave --for out: it is held until resumed.")
        raise CommandError(error % {"text": repr(text)})
    return length


def domain_of(text: str | None) -> str:
    """Return the domain as deliveries have it ("" for None); a CommandError for what is none."""
    if text is None:
        return ""
    try:
        domain = a_labels(text).lower()
    except ValueError as invalid:
        raise CommandError(str(invalid)) from invalid
    if not _DOMAIN.fullmatch(domain):
        error = _("%(text)s is no domain. Give what stands behind the @, as in example.com.")
        raise CommandError(error % {"text": repr(text)})
    return domain
