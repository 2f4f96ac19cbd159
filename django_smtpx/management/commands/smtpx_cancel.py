"""``manage.py smtpx_cancel``: withdraw deliveries that wait."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from django_smtpx.ledger import Step
from django_smtpx.management.steering import SteeringCommand


class Command(SteeringCommand):
    """Cancels deliveries, and says how many, and which it left alone and why."""

    help = _(
        "Cancel deliveries that wait (queued and deferred ones). All filters given must hold, and "
        "one at least is needed. What was cancelled can be sent again with smtpx_retry."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print what came of it."""
        self.run(Step.CANCEL, options)
