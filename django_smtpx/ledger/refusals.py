"""What was refused before, where that has to be known to end something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.ledger.rows import database
from django_smtpx.models import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_smtpx.ledger.rows import Row


def policy_refusals(rows: Iterable[Row]) -> list[str]:
    """Return from where these deliveries were refused by a policy (5.7.x): the IP addresses."""
    attempts = Attempt.objects.using(database()).filter(delivery__in=[row.pk for row in rows])
    refused = attempts.filter(code__gte=500, enhanced_code__startswith="5.7.")
    return [ip for ip in refused.values_list("ip", flat=True) if ip]
