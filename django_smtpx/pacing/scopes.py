"""What a person lets rest: which mail, and for how long, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from django_smtpx import ledger
from django_smtpx.addresses import a_labels
from django_smtpx.ledger import lanes
from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from django.db.models import QuerySet

LONGEST = timedelta(days=3650)

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

    def deliveries(self) -> QuerySet[Delivery]:
        """Return the rows that are meant."""
        rows = Delivery.objects.using(ledger.database()).filter(mailer=self.mailer)
        return rows.filter(domain=self.domain) if self.domain else rows

    def waiting(self, most: int | None = None) -> int:
        """Count what waits, whatever for; ``most`` of it and one more where that is given."""
        rows = self.deliveries().filter(lanes.waiting())
        return rows.count() if most is None else rows[: most + 1].count()

    def sending(self) -> int:
        """Count what a worker has claimed."""
        return self.deliveries().filter(status=Delivery.Status.SENDING).count()

    def ready(self) -> int:
        """Count what the next drain may take."""
        return self.deliveries().filter(lane__gt=Delivery.Lane.IDLE).count()


def duration(text: str) -> timedelta:
    """Return how long "90s", "15m", "2h", "1d" or "1h30m" is; ``ValueError`` for anything else."""
    found = _DURATION.fullmatch(text)
    parts: dict[str, Any] = {} if found is None else found.groupdict(default="0")
    length = timedelta(**{unit: int(number) for unit, number in parts.items()})
    if not length:
        error = _("%(text)s is no duration. Write 90s, 15m, 2h, 1d or 1h30m.")
        raise ValueError(error % {"text": repr(text)})
    if length > LONGEST:
        error = _("%(text)s is longer than ten years. Without a time it is held until resumed.")
        raise ValueError(error % {"text": repr(text)})
    return length


def domain_of(text: str) -> str:
    """Return a domain as deliveries have it; ``ValueError`` for what is none."""
    domain = a_labels(text).lower()
    if not _DOMAIN.fullmatch(domain):
        error = _("%(text)s is no domain. Give what stands behind the @, as in example.com.")
        raise ValueError(error % {"text": repr(text)})
    return domain
